-- What is known of each reader's clock (api/clocks/), behind the drain and made of what it has stored. Without foreign keys
-- to streams: an administrator's delete and a look that comes every ten seconds never wait for each other.

-- One row: whose turn it is to look, and when what is too old was taken away last.
CREATE TABLE clocks_turn (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_at timestamptz NOT NULL DEFAULT '-infinity',
    tidied_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO clocks_turn DEFAULT VALUES;

-- The zone that a forwarder's readers are set to, where somebody has said so: a name of the IANA database.
CREATE TABLE forwarder_zones (
    forwarder_id text        PRIMARY KEY,
    time_zone    text        NOT NULL,
    set_at       timestamptz NOT NULL DEFAULT now()
);

-- What is believed of a clock. Milliseconds are its wall clock minus that of `zone` (null: UTC's) at the moment when a read
-- came; utc_ms is how far that zone was from UTC then. zone_ms: what of them is another zone: 0 where one is given, what
-- most streams agree on, or null where nobody knows. window_*: the best of the two minutes that are under way.
CREATE TABLE reader_clocks (
    stream_id       uuid        PRIMARY KEY,
    position        bigint      NOT NULL,  -- up to which its reads have been looked at
    zone            text,
    ahead_ms        bigint,
    utc_ms          bigint      NOT NULL DEFAULT 0,
    zone_ms         bigint,
    offset_ms       bigint      GENERATED ALWAYS AS (ahead_ms - zone_ms) STORED,
    told_ms         bigint,                -- by the reads of the last look
    told_at         timestamptz,
    was_ms          bigint,                -- before it was set last, which was seen at:
    stepped_at      timestamptz,
    window_at       timestamptz,
    window_ms       bigint,
    window_opens    boolean,
    drift_ppm       real,
    drift_error_ppm real
) WITH (fillfactor = 50);

-- What is kept: from `at` on a clock was so far from UTC, until its next row. The newest 5,000 of each stream.
CREATE TABLE reader_clock_marks (
    stream_id    uuid        NOT NULL REFERENCES reader_clocks ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    utc_ahead_ms bigint      NOT NULL,
    stepped      boolean     NOT NULL,  -- it was set at that moment
    PRIMARY KEY (stream_id, at)
);
