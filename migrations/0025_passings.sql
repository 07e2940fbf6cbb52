-- Passings: what a chip left at one stream in one epoch without a gap of a second or more, by the reader's time. They are
-- made of events, behind the drain, by position (api/passings/), so that who asks for a chip, or for who came by when,
-- need not look at events. They can be made anew at any time; nothing in them is the only copy of anything.

-- Up to which position each stream's events are in passings. Whoever holds its row fills the stream, and whoever takes
-- the row away has the stream filled anew, from its first event on: its passings go with it.
CREATE TABLE passings_progress (
    stream_id uuid   PRIMARY KEY REFERENCES streams ON DELETE CASCADE,
    position  bigint NOT NULL CHECK (position >= 0)
) WITH (fillfactor = 50);

-- A reference to the progress, which is held while passings are written, and not to streams: a lock beside the drain's on
-- the stream's row would cost the drain.
CREATE TABLE passings (
    stream_id     uuid      NOT NULL REFERENCES passings_progress ON DELETE CASCADE,
    stream_epoch  bigint    NOT NULL,
    tag_id        text      NOT NULL,
    first_read_at timestamp NOT NULL,  -- the reader's wall clock, as events.read_at
    first_seq     bigint    NOT NULL,  -- of the read with that time; of several the lowest
    last_read_at  timestamp NOT NULL,
    last_seq      bigint    NOT NULL,  -- of the read with that time; of several the highest
    low_seq       bigint    NOT NULL,  -- all its reads lie in low_seq..high_seq of the epoch, beside those of others
    high_seq      bigint    NOT NULL,
    reads         integer   NOT NULL CHECK (reads >= 1),
    position      bigint    NOT NULL,  -- of the read that was stored last: where the passing was last changed
    PRIMARY KEY (stream_id, stream_epoch, tag_id, first_read_at),
    CHECK (first_read_at <= last_read_at AND low_seq <= high_seq)
);
CREATE INDEX passings_chip ON passings (tag_id);
CREATE INDEX passings_position ON passings (stream_id, position);
-- Who came by a stream in a minute.
CREATE INDEX passings_time ON passings (stream_id, first_read_at);
