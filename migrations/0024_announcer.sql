-- The announcer: the finishers of selected streams, in the order in which they came, for a hall and its speaker. A run is
-- one count of them, from 1 on. Names of people are not in here: they are looked up when shown.

-- One row: how it is set, and which run goes on. Its lock is what announcing and changing take turns by.
CREATE TABLE announcer (
    only_row      boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    enabled       boolean     NOT NULL DEFAULT false,
    enabled_until timestamptz,
    max_list_size integer     NOT NULL DEFAULT 25 CHECK (max_list_size BETWEEN 1 AND 500),
    run_id        bigint      NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (enabled OR enabled_until IS NULL)
);
INSERT INTO announcer DEFAULT VALUES;

-- The selected streams, and where the run stands in each: reads above `position`, of this epoch or later, are to come.
-- Each announcement moves positions, so there is room beside each row (HOT).
CREATE TABLE announcer_streams (
    stream_id    uuid    PRIMARY KEY REFERENCES streams ON DELETE CASCADE,
    place        integer NOT NULL,  -- order of selection
    stream_epoch bigint  NOT NULL,
    position     bigint  NOT NULL
) WITH (fillfactor = 50);

-- Without a reference to streams: what was announced stays when its stream is deleted.
CREATE TABLE announcements (
    run_id           bigint      NOT NULL,
    announcement_id  bigint      NOT NULL CHECK (announcement_id >= 1),
    subject          text        NOT NULL,  -- 'bib:<race>:<n>' or 'chip:<tag>'
    stream_id        uuid        NOT NULL,
    stream_epoch     bigint      NOT NULL,
    seq              bigint      NOT NULL,
    tag_id           text        NOT NULL,
    reader_timestamp text,
    received_at      timestamptz NOT NULL,
    PRIMARY KEY (run_id, announcement_id),
    UNIQUE (run_id, subject)
);
-- A chip whose owner is known no more is the same finisher.
CREATE INDEX announcements_tag ON announcements (run_id, tag_id);
