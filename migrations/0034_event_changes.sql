-- What certificates stand on (api/certificate/): which stored events were deleted or changed by somebody else than
-- us, and digests of those that are there, so that a million reads are not gone through each time.

-- One row for each statement that deleted or changed stored events, and epoch of a stream: from which number to
-- which, and how many. Triggers write them (routines/events.sql), nobody changes them, and they go with the stream:
-- what is deleted reads "deleted" as long as anybody can ask for it. Rows are only added, so that two administrators
-- never wait for each other here. Epoch 0: what was deleted before this table was there, of whichever epoch.
CREATE TABLE event_changes (
    change_id    bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    stream_id    uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch bigint      NOT NULL CHECK (stream_epoch >= 0),
    kind         text        NOT NULL CHECK (kind IN ('deleted', 'changed')),
    event_count  bigint      NOT NULL CHECK (event_count >= 1),
    first_seq    bigint      CHECK (first_seq >= 1),
    last_seq     bigint      CHECK (last_seq >= first_seq),
    noted_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((stream_epoch = 0) = (first_seq IS NULL) AND (stream_epoch = 0) = (last_seq IS NULL))
);
CREATE INDEX event_changes_epoch ON event_changes (stream_id, stream_epoch);

-- Positions are handed out without gaps, so what is not there by now was deleted. Both are read by one statement, of
-- one moment: a drain writes them together.
INSERT INTO event_changes (stream_id, stream_epoch, kind, event_count)
SELECT stream_id, 0, 'deleted', last_position - there.events
FROM streams
CROSS JOIN LATERAL (SELECT count(*) AS events FROM events WHERE events.stream_id = streams.stream_id) AS there
WHERE last_position > there.events;

-- The digest of a thousand numbers of an epoch: block b has those from 1000 b + 1 to 1000 (b + 1). It holds where as
-- many events are in the block as then and as many changes of the epoch are noted as then: a late event makes the
-- first another, whatever deletes or changes events the second, and both are committed with what they tell of. So no
-- lock is needed, and nothing that a drain does has to know of this table.
CREATE TABLE event_blocks (
    stream_id      uuid    NOT NULL,
    stream_epoch   bigint  NOT NULL,
    block          bigint  NOT NULL CHECK (block >= 0),
    event_count    integer NOT NULL CHECK (event_count BETWEEN 1 AND 1000),
    changes        bigint  NOT NULL CHECK (changes >= 0),
    digest         bytea   NOT NULL CHECK (octet_length(digest) = 32),
    late_count     integer NOT NULL CHECK (late_count BETWEEN 0 AND event_count),
    unparsed_count integer NOT NULL CHECK (unparsed_count BETWEEN 0 AND event_count),
    first_position bigint  NOT NULL,  -- the lowest in it: what of the blocks below is higher came late
    PRIMARY KEY (stream_id, stream_epoch, block),
    FOREIGN KEY (stream_id, stream_epoch) REFERENCES stream_metrics ON DELETE CASCADE
);
