-- What was ever commanded of a stream, apart from what was seen: a device that still sends older epochs has been told.
ALTER TABLE streams ADD COLUMN commanded_epoch bigint;

-- What is wrong with a forwarder by what it sends, until it sends what is right: a row for each kind of fault, so that
-- any api process sees it, whichever gateway the device comes to.
--   malformed         a message that is none
--   long_line         a line longer than 64 KiB
--   dead_letter       a batch that could not be written
--   too_many_readers  more readers than a forwarder may have
CREATE TABLE forwarder_faults (
    forwarder_id text        NOT NULL,
    fault        text        NOT NULL CHECK (fault IN ('malformed', 'long_line', 'dead_letter', 'too_many_readers')),
    complaint    text        NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    last_at      timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    PRIMARY KEY (forwarder_id, fault)
) WITH (fillfactor = 50);
