-- The second generation of devices: lines as bytes, and what newer forwarders tell of their readers and batteries.

-- framed: what came is a frame (raw_frame: the bytes as they came over TCP, their line end with them), else the text of
-- a line (raw_read_line). Which it was decides how it is delivered; for all who look at lines, the line end of a frame
-- is none of it (routines/lines.sql). A part is of one form. What writes without the column, as the release before
-- does, writes text.
ALTER TABLE events ADD COLUMN framed boolean NOT NULL DEFAULT false;
ALTER TABLE inbox ADD COLUMN framed boolean NOT NULL DEFAULT false;
ALTER TABLE poisoned_parts ADD COLUMN framed boolean NOT NULL DEFAULT false;
ALTER TABLE integrity_conflicts ADD COLUMN framed boolean NOT NULL DEFAULT false;  -- the rejected line

-- Of reader_states and forwarder_ups: handed out under a lock, so that who has seen version x misses nothing below x
-- (routines/devices.sql).
CREATE SEQUENCE device_version;

-- The newest that a forwarder told of a reader. True only while its session (session_id) is the live one: afterwards a
-- reader counts as disconnected, which whoever asks derives; reader_info stays, with its age. No row: nothing was told,
-- as by all older forwarders.
CREATE TABLE reader_states (
    forwarder_id text        NOT NULL,
    reader_ip    text        NOT NULL,
    session_id   uuid        NOT NULL,
    connected    boolean,                         -- reader_status_update; null: not told in this session
    state        text        CHECK (state IN ('connected', 'connecting', 'disconnected')),  -- null: the same
    reader_info  jsonb,                           -- the last one that was told, at most 16 kB
    info_at      timestamptz,                     -- when that was
    download     jsonb,                           -- the last reader_download_progress of this session, if any
    changed_at   timestamptz NOT NULL DEFAULT now(),
    version      bigint      NOT NULL,            -- another, higher one with each change; info_at alone is none
    PRIMARY KEY (forwarder_id, reader_ip)
) WITH (fillfactor = 50);

-- The newest that a forwarder told of its battery. status: the last one that was told, also where the UPS has become
-- unavailable since. No row: it has none, or is older.
CREATE TABLE forwarder_ups (
    forwarder_id text        PRIMARY KEY,
    session_id   uuid        NOT NULL,
    available    boolean     NOT NULL,
    status       jsonb,
    received_at  timestamptz NOT NULL DEFAULT now(),
    version      bigint      NOT NULL
) WITH (fillfactor = 50);

-- Until when a reader clears its memory, and is asked for nothing else. Kept here and not by its session: the forwarder
-- may come back, to another gateway, while the reader is at it.
CREATE TABLE clearing_readers (
    forwarder_id   text        NOT NULL,
    reader_ip      text        NOT NULL,
    clearing_until timestamptz NOT NULL,
    PRIMARY KEY (forwarder_id, reader_ip)
) WITH (fillfactor = 50);
