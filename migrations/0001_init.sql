-- The schema of rt-server. Postgres 18 or newer.
--
-- Every table is written by one service, as a rule (ARCHITECTURE.md, Tables); invariants stand here, not in the code.
-- UNLOGGED tables hold what may vanish in a crash: nothing in them is the only copy of anything acknowledged.
-- Functions, triggers and views stand in routines/.
--
-- applied as well as: c462c900c7eba656bd1f7a695672470dbcc2d50980739d2cc3d00a050c0cea4d (the same, with its functions and views)
-- applied as well as: 6fc9d610ccf8f5b97676fbecbb749f1d4d87fb19783862ab43cec8684c1828cd (the same, with other comments)


-- Who may connect ---------------------------------------------------------------------------------------

CREATE TABLE device_tokens (
    token_id     uuid        PRIMARY KEY DEFAULT uuidv7(),
    token_hash   bytea       NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),  -- SHA-256 of its bytes
    device_type  text        NOT NULL CHECK (device_type IN ('forwarder', 'receiver')),
    device_id    text        NOT NULL CHECK (device_id <> ''),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);


-- Streams and what is stored of them --------------------------------------------------------------------

-- fillfactor leaves room beside each row: every drain updates last_position, and an update that stays on
-- its page and touches no indexed column (HOT) leaves the indexes alone.
CREATE TABLE streams (
    stream_id              uuid        PRIMARY KEY DEFAULT uuidv7(),
    forwarder_id           text        NOT NULL,
    reader_ip              text        NOT NULL,
    display_alias          text,
    forwarder_display_name text,
    stream_epoch           bigint      NOT NULL DEFAULT 1 CHECK (stream_epoch >= 1),  -- highest seen or commanded
    last_position          bigint      NOT NULL DEFAULT 0 CHECK (last_position >= 0),
    created_at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE (forwarder_id, reader_ip)
) WITH (fillfactor = 50);

-- position counts 1, 2, 3, ... within a stream in the order of commit, without gaps: the writer hands it
-- out while it holds the lock on the stream's row. That lock is also what keeps the stream from being
-- deleted meanwhile, so the foreign key is declared but not checked again for every row (a fifth of the
-- cost of an insert).
CREATE TABLE events (
    stream_id        uuid        NOT NULL REFERENCES streams NOT ENFORCED,
    stream_epoch     bigint      NOT NULL CHECK (stream_epoch >= 1),
    seq              bigint      NOT NULL CHECK (seq >= 1),
    position         bigint      NOT NULL CHECK (position >= 1),
    received_at      timestamptz NOT NULL,
    read_at          timestamp,                    -- the reader's wall clock, where the line parses
    raw_frame        bytea       NOT NULL,         -- the line, byte for byte; text cannot hold NUL
    reader_timestamp text        NOT NULL,
    read_type        text        NOT NULL,
    tag_id           text,
    parse_error      text,
    PRIMARY KEY (stream_id, stream_epoch, seq),
    UNIQUE (stream_id, position)
);

-- Counted as the writer goes, so that no page ever counts events. missing holds the first gaps of the
-- epoch's sequence numbers (at most 1,000); missing_count is exact: last_seq - dedup_count.
CREATE TABLE stream_metrics (
    stream_id             uuid           NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch          bigint         NOT NULL,
    raw_count             bigint         NOT NULL,
    dedup_count           bigint         NOT NULL,
    retransmit_count      bigint         NOT NULL,
    conflict_count        bigint         NOT NULL,
    unparsed_count        bigint         NOT NULL,
    chip_count            bigint         NOT NULL,
    first_seq             bigint         NOT NULL,
    last_seq              bigint         NOT NULL,
    first_received_at     timestamptz    NOT NULL,
    last_received_at      timestamptz    NOT NULL,
    last_tag_id           text,
    last_reader_timestamp text           NOT NULL,
    missing               int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (stream_id, stream_epoch),
    CHECK (raw_count = dedup_count + retransmit_count + conflict_count)
) WITH (fillfactor = 50);

-- Which chips an epoch has seen: what chip_count counts. Goes with the metrics' row.
CREATE TABLE epoch_chips (
    stream_id    uuid   NOT NULL,
    stream_epoch bigint NOT NULL,
    tag_id       text   NOT NULL,
    PRIMARY KEY (stream_id, stream_epoch, tag_id),
    FOREIGN KEY (stream_id, stream_epoch) REFERENCES stream_metrics ON DELETE CASCADE
);

CREATE TABLE epoch_names (
    stream_id    uuid   NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch bigint NOT NULL,
    name         text   NOT NULL,
    PRIMARY KEY (stream_id, stream_epoch)
);

-- Lines that arrived under an identity that was taken by another line. Each is kept once, however often
-- its device sends it.
CREATE TABLE integrity_conflicts (
    conflict_id      bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    stream_id        uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch     bigint      NOT NULL,
    seq              bigint      NOT NULL,
    kept_frame       bytea       NOT NULL,
    rejected_frame   bytea       NOT NULL,
    reader_timestamp text        NOT NULL,
    read_type        text        NOT NULL,
    received_at      timestamptz NOT NULL,
    session_id       uuid        NOT NULL,
    acknowledged_at  timestamptz
);
CREATE UNIQUE INDEX integrity_conflicts_line
    ON integrity_conflicts (stream_id, stream_epoch, seq, sha256(rejected_frame));
CREATE INDEX integrity_conflicts_open ON integrity_conflicts (stream_id) WHERE acknowledged_at IS NULL;


-- Who is alive ------------------------------------------------------------------------------------------

-- A process that holds its advisory lock is alive until its connection ends, which a crash does at once;
-- a lease that its event loop renews shows a process that hangs. lock_key is the second half of the
-- lock's number, PROCESS_LOCK_CLASS (shared/runtime/liveness.py) the first. A process without a lock (behind a
-- pooler) lives by its lease alone.
CREATE TABLE processes (
    process_id        uuid        PRIMARY KEY,
    lock_key          integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    role              text        NOT NULL CHECK (role IN ('gateway', 'writer', 'fanout', 'api')),
    host              text        NOT NULL,
    pid               integer     NOT NULL,
    address           text        NOT NULL,
    version           text        NOT NULL,
    holds_lock        boolean     NOT NULL,
    ready             boolean     NOT NULL DEFAULT false,
    connections       integer     NOT NULL DEFAULT 0,
    events_per_second real        NOT NULL DEFAULT 0,
    started_at        timestamptz NOT NULL DEFAULT now(),
    last_seen_at      timestamptz NOT NULL DEFAULT now(),
    lease_expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- One row for each forwarder, of its latest session; ended_at is null while it lasts. fence rises with
-- every session: what is staged under an older fence is not written any more.
CREATE SEQUENCE session_fence;
CREATE TABLE forwarder_sessions (
    forwarder_id       text        PRIMARY KEY,
    session_id         uuid        NOT NULL,
    fence              bigint      NOT NULL,
    gateway_id         uuid        NOT NULL,
    token_id           uuid        NOT NULL,
    display_name       text,
    connected_at       timestamptz NOT NULL DEFAULT now(),
    ended_at           timestamptz,
    probe_asked_at     timestamptz,               -- a takeover request: is the first connection still there?
    probe_answered_at  timestamptz
) WITH (fillfactor = 50);
CREATE INDEX forwarder_sessions_gateway ON forwarder_sessions (gateway_id);

CREATE TABLE receiver_sessions (
    session_id   uuid        PRIMARY KEY,
    receiver_id  text        NOT NULL,
    fanout_id    uuid        NOT NULL,
    token_id     uuid        NOT NULL,
    stream_ids   uuid[]      NOT NULL DEFAULT '{}',
    connected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX receiver_sessions_fanout ON receiver_sessions (fanout_id);

-- Everything of an epoch up to and including last_seq is done with, for this receiver.
CREATE TABLE receiver_cursors (
    receiver_id  text        NOT NULL,
    stream_id    uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch bigint      NOT NULL,
    last_seq     bigint      NOT NULL CHECK (last_seq >= 0),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (receiver_id, stream_id, stream_epoch)
) WITH (fillfactor = 50);
CREATE INDEX receiver_cursors_stream ON receiver_cursors (stream_id);


-- What is on its way --------------------------------------------------------------------------------------

-- A part is what one batch holds of one reader and epoch, as arrays of equal length: the writer unnests
-- it. A part's number rises within a gateway. arrival orders parts over all gateways.
CREATE UNLOGGED TABLE inbox (
    gateway_id        uuid        NOT NULL,
    part_id           bigint      NOT NULL,
    arrival           bigint      NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    forwarder_id      text        NOT NULL,
    fence             bigint      NOT NULL,
    session_id        uuid        NOT NULL,
    stream_id         uuid        NOT NULL,
    stream_epoch      bigint      NOT NULL,
    received_at       timestamptz NOT NULL,
    event_count       integer     NOT NULL,
    seqs              bigint[]    NOT NULL,
    raw_frames        bytea[]     NOT NULL,
    reader_timestamps text[]      NOT NULL,
    read_types        text[]      NOT NULL,
    tag_ids           text[]      NOT NULL,
    read_ats          timestamp[] NOT NULL,
    parse_errors      text[]      NOT NULL,
    PRIMARY KEY (gateway_id, part_id)
);
-- Rows live for milliseconds: compressing them costs more than it saves. Statistics of a table that is
-- empty most of the time mislead, and the writer empties it itself (writer/store/upkeep.py).
ALTER TABLE inbox
    ALTER COLUMN seqs SET STORAGE EXTERNAL,
    ALTER COLUMN raw_frames SET STORAGE EXTERNAL,
    ALTER COLUMN reader_timestamps SET STORAGE EXTERNAL,
    ALTER COLUMN read_types SET STORAGE EXTERNAL,
    ALTER COLUMN tag_ids SET STORAGE EXTERNAL,
    ALTER COLUMN read_ats SET STORAGE EXTERNAL,
    ALTER COLUMN parse_errors SET STORAGE EXTERNAL,
    SET (autovacuum_enabled = off);

-- What became of parts, written by the very commit that stored them: a row that can be seen is durable.
--   stored    every event is in events, or was there before
--   conflict  the same, but some went to integrity_conflicts
--   gone      the stream was deleted; the gateway makes it anew and stages the part again
--   fenced    a newer session has the device; nothing of the part was written
--   poisoned  the part could not be written and lies in poisoned_parts
CREATE UNLOGGED TABLE outcomes (
    gateway_id uuid     NOT NULL,
    outcome    text     NOT NULL CHECK (outcome IN ('stored', 'conflict', 'gone', 'fenced', 'poisoned')),
    part_ids   bigint[] NOT NULL
) WITH (autovacuum_enabled = off);

-- One row with a random number. A crash empties this table along with the inbox; whoever finds it empty
-- writes a new number, and a gateway that sees another number stages again what was not acked.
CREATE UNLOGGED TABLE inbox_generation (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation uuid    NOT NULL
);

CREATE TABLE poisoned_parts (
    LIKE inbox,
    error       text        NOT NULL,
    poisoned_at timestamptz NOT NULL DEFAULT now()
);

-- A request of an operator to a forwarder: asked by an api process, taken by the gateway that holds the session while
-- it is young enough, and deleted by who asked, with its answer or at the deadline. request and answer are JSON and may
-- hold secrets; bytes, because nothing here looks into them. Unlogged: what a crash takes away was not answered.
--   done    it was written to the socket (epoch_reset), or the device answered
--   absent  the session is not there any more; nothing was written
--   busy    too many others are under way on the session; nothing was written
--   lost    it may have been carried out, or not
CREATE UNLOGGED TABLE commands (
    command_id   uuid        PRIMARY KEY DEFAULT uuidv7(),
    forwarder_id text        NOT NULL,
    session_id   uuid        NOT NULL,
    gateway_id   uuid        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('epoch_reset', 'config_get', 'config_set', 'restart')),
    request      bytea       NOT NULL,
    state        text        NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'taken', 'done', 'absent', 'busy', 'lost')),
    answer       bytea,
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX commands_open ON commands (gateway_id) WHERE state = 'asked';

-- What happened, for operators; whoever writes it keeps it short (shared/runtime/activity.py).
CREATE TABLE activity (
    activity_id bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT now(),
    level       text        NOT NULL CHECK (level IN ('info', 'warn', 'error')),
    process_id  uuid        NOT NULL,
    event       text        NOT NULL,
    fields      jsonb       NOT NULL DEFAULT '{}'
);


-- The states of the dashboard -------------------------------------------------------------------------------

-- Written by whichever api process looks at the moment. No foreign keys: an administrator who deletes a stream never
-- waits for these, nor they for him; what has lost its stream is removed at the next look.

-- One row. Who holds its lock is the one who looks; the others see by evaluated_at that it has been done.
CREATE TABLE evaluation (
    only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    evaluated_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO evaluation DEFAULT VALUES;

-- What is or was amber or red (api/alerts/engine.py). good: noticed, and within its time yet. The last three say since when
-- facts without a date of their own are what they are, and since when they are below red and below amber.
CREATE TABLE troubles (
    trouble_id   bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    signal       text        NOT NULL,
    subject_kind text        NOT NULL CHECK (subject_kind IN ('stream', 'forwarder', 'receiver', 'process')),
    subject_id   text        NOT NULL,
    stream_id    uuid,
    stream_epoch bigint,
    title        text        NOT NULL,
    level        text        NOT NULL CHECK (level IN ('good', 'watch', 'act')),
    reason       text        NOT NULL,
    advice       text        NOT NULL,
    since        timestamptz NOT NULL,
    ended_at     timestamptz,
    noticed_at   timestamptz,
    eased_at     timestamptz,
    calm_at      timestamptz
);
CREATE UNIQUE INDEX troubles_open ON troubles (signal, subject_id, stream_id) NULLS NOT DISTINCT WHERE ended_at IS NULL;
CREATE INDEX troubles_ended ON troubles (ended_at) WHERE ended_at IS NOT NULL;

-- Events of each stream in bins of 10 s, the newest complete one last, and what was so at the beginning of the bin
-- that is under way: last_position, the median gap between the newest events, and the offset of the reader's clock then
-- and a bin before.
CREATE TABLE stream_samples (
    stream_id       uuid      PRIMARY KEY,
    bin             bigint    NOT NULL,
    bin_position    bigint    NOT NULL,
    counts          integer[] NOT NULL CHECK (cardinality(counts) = 180),
    gap_s           real,
    clock_offset_ms bigint,
    clock_was_ms    bigint
);

-- Who follows what, remembered beyond the session: a receiver that is gone is missed.
CREATE TABLE subscriptions (
    receiver_id text        NOT NULL,
    stream_id   uuid        NOT NULL,
    gone_since  timestamptz,
    PRIMARY KEY (receiver_id, stream_id)
);
