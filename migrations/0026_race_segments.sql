-- Boundaries of races that a person has moved: what of a stream's reads is of a race, from one read up to, and without,
-- another. Which race a read is of, by these and by all else that says it, is told in one place: routines/segments.sql.

-- Where a read stands among all reads of all streams. Of such keys a range can be made, which Postgres compares column by
-- column: exact up to the ends of bigint, and what of one stream is never meets what is of another.
CREATE TYPE read_key AS (stream_id uuid, stream_epoch bigint, seq bigint);
CREATE TYPE read_range AS RANGE (subtype = read_key);

-- No read is in two segments, whoever makes them: the exclusion says so, not the code. Without an end: open, all that
-- comes is the race's.
CREATE TABLE race_segments (
    stream_id  uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    from_epoch bigint      NOT NULL CHECK (from_epoch BETWEEN 1 AND 2147483647),
    from_seq   bigint      NOT NULL CHECK (from_seq >= 1),
    to_epoch   bigint      CHECK (to_epoch BETWEEN 1 AND 2147483648),  -- the end of the last epoch is the one behind it
    to_seq     bigint      CHECK (to_seq >= 1),
    race_id    uuid        NOT NULL REFERENCES races ON DELETE CASCADE,
    PRIMARY KEY (stream_id, from_epoch, from_seq),
    CHECK ((to_epoch IS NULL) = (to_seq IS NULL)),
    CONSTRAINT race_segments_begins_first CHECK (to_epoch IS NULL OR (from_epoch, from_seq) < (to_epoch, to_seq)),
    CONSTRAINT race_segments_apart EXCLUDE USING gist (
        read_range(
            ROW (stream_id, from_epoch, from_seq)::read_key,
            ROW (stream_id, coalesce(to_epoch, 9223372036854775807), coalesce(to_seq, 9223372036854775807))::read_key
        ) WITH &&
    )
);
CREATE INDEX race_segments_race ON race_segments (race_id, stream_id);

-- What was done to the segments of a race in a stream, whole before and after it, the newest kept: so that it can be
-- undone, and the undoing too. [[from_epoch, from_seq, to_epoch or null, to_seq or null], …]
CREATE TABLE segment_changes (
    change_id  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    race_id    uuid        NOT NULL REFERENCES races ON DELETE CASCADE,
    stream_id  uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    before     jsonb       NOT NULL,
    after      jsonb       NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text        NOT NULL,
    undoes     bigint
);
CREATE INDEX segment_changes_race ON segment_changes (race_id, change_id);
CREATE INDEX segment_changes_stream ON segment_changes (stream_id);

-- So that pages see that boundaries of the race are others.
ALTER TABLE races ADD segments_changed_at timestamptz;
