-- A trouble may be the database's own.
ALTER TABLE troubles
    DROP CONSTRAINT troubles_subject_kind_check,
    ADD CONSTRAINT troubles_subject_kind_check
        CHECK (subject_kind IN ('stream', 'forwarder', 'receiver', 'process', 'database'));
