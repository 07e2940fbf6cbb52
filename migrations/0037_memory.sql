-- What a reader's own memory had and no stream of ours (api/reconcile/): lines that an api process leaves here, numbered,
-- and that a gateway stages like any read (gateway/memory.py), as the stream `<reader_ip>#memory` of the same forwarder.
--
-- A part is lines that follow each other in a file; line n of it has the identity (that stream, stream_epoch,
-- first_seq + n - 1), which is given here and never again. So it may be staged as often as anybody likes, by whichever
-- gateways: what is stored already is a retransmit. It goes when every line of it is in `events`
-- (routines/memory.sql).
CREATE TABLE memory_parts (
    part_id      bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    forwarder_id text        NOT NULL,
    reader_ip    text        NOT NULL,            -- the reader's, without #memory: no reference, for it outlives its stream
    stream_epoch bigint      NOT NULL CHECK (stream_epoch >= 1),  -- the reader's, when the lines were left here
    first_seq    bigint      NOT NULL CHECK (first_seq >= 1),
    lines        bytea[]     NOT NULL CHECK (cardinality(lines) BETWEEN 1 AND 500),
    left_at      timestamptz NOT NULL DEFAULT now(),
    gateway_id   uuid,                            -- who stages it; free again when that process is dead
    UNIQUE (forwarder_id, reader_ip, stream_epoch, first_seq)
);
