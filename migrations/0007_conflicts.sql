-- A conflict keeps its own line, and of the line that it is in conflict with the hash: that line stands in `events`, and
-- copied beside each conflict it made gigabytes of kilobytes. What was copied before stays where it is.
ALTER TABLE integrity_conflicts
    ADD COLUMN kept_hash bytea CHECK (octet_length(kept_hash) = 32),  -- SHA-256
    ALTER COLUMN kept_frame SET DEFAULT '';
