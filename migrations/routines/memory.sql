-- version: 2
--
-- What a reader's own memory had, on its way to be staged.

-- Whether a stream of this name holds what a reader's memory had (shared/protocol/memory.py): no device tells of it, so
-- no clock, no silence and no epoch of it says anything of a device.
CREATE OR REPLACE FUNCTION is_memory(reader_ip text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN right(reader_ip, 7) = '#memory';

-- The reader whose memory a stream of this name holds; null where it is no memory's.
CREATE OR REPLACE FUNCTION reader_of_memory(reader_ip text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN right(reader_ip, 7) = '#memory' THEN left(reader_ip, -7) END;

-- Take parts to be staged, oldest first: those that are free, whose gateway is dead, or that are the caller's and that he
-- does not know to be on their way (an answer was lost, or the database has refused them before). Two gateways at once
-- get different ones; where one that was taken for dead goes on, both stage the same, which is stored once.
-- With its owner's rights: a gateway has no right to change the table, nor to look into it otherwise.
CREATE OR REPLACE FUNCTION take_memory_parts(given_gateway uuid, under_way bigint[], most integer)
RETURNS TABLE (part_id bigint, forwarder_id text, reader_ip text, display_name text, stream_epoch bigint, first_seq bigint,
               lines bytea[])
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH free AS MATERIALIZED (
        SELECT part.part_id FROM memory_parts AS part
        WHERE part.part_id <> ALL(under_way)
          AND (part.gateway_id IS NULL OR part.gateway_id = given_gateway
               OR part.gateway_id NOT IN (SELECT process_id FROM live_processes))
        ORDER BY part.part_id
        LIMIT most
        FOR UPDATE SKIP LOCKED
    )
    UPDATE memory_parts AS taken SET gateway_id = given_gateway
    FROM free
    WHERE taken.part_id = free.part_id
    RETURNING taken.part_id, taken.forwarder_id, taken.reader_ip,
              (SELECT streams.forwarder_display_name FROM streams
               WHERE streams.forwarder_id = taken.forwarder_id AND streams.reader_ip = taken.reader_ip),
              taken.stream_epoch, taken.first_seq, taken.lines;
END;

-- Parts have been staged and settled: take away those of which every number is stored, and return them. What is in
-- `events` is durable, so nothing is taken at a gateway's word: one that is wrong, or not ours, can lose nothing here.
-- Each look is along the primary key, in the one form that nothing else can serve (drain.sql says why).
CREATE OR REPLACE FUNCTION end_memory_parts(given_parts bigint[]) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM memory_parts AS part
    USING streams
    WHERE part.part_id = ANY(given_parts)
      AND streams.forwarder_id = part.forwarder_id AND streams.reader_ip = part.reader_ip || '#memory'
      AND NOT EXISTS (
          SELECT FROM generate_series(part.first_seq, part.first_seq + cardinality(part.lines) - 1) AS number(seq)
          LEFT JOIN LATERAL (
              SELECT events.position FROM events
              WHERE events.stream_id = streams.stream_id AND events.stream_epoch = part.stream_epoch
                AND events.seq >= number.seq AND events.seq <= number.seq
              ORDER BY events.seq DESC LIMIT 1
          ) AS stored ON true
          WHERE stored.position IS NULL)
    RETURNING part.part_id;
END;
