-- version: 1
--
-- Passings of a race: of what a boundary cuts, the part that is the race's.

-- What of a passing lies from from_seq up to, and without, to_seq (null: to the end), made anew of its reads: those that
-- are left may be a second apart or more, and then they are several, because reads do not come in the order of their
-- times. read_at is looked at, too: other passings of the chip may lie among the same numbers.
CREATE OR REPLACE FUNCTION passing_within(
    given_stream uuid, given_epoch bigint, given_tag text, first_at timestamp, last_at timestamp,
    low bigint, high bigint, given_from bigint, given_to bigint)
RETURNS TABLE (stream_id uuid, stream_epoch bigint, tag_id text, first_read_at timestamp, first_seq bigint,
               last_read_at timestamp, last_seq bigint, low_seq bigint, high_seq bigint, reads integer, "position" bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH remaining AS (
        SELECT read.seq, read.read_at, read.position,
               read.read_at - lag(read.read_at) OVER in_time >= interval '1 second' AS begins
        FROM events AS read
        WHERE read.stream_id = given_stream AND read.stream_epoch = given_epoch
          AND read.seq >= greatest(low, given_from)
          AND read.seq <= least(high, given_to - 1)
          AND read.tag_id = given_tag
          AND read.read_at BETWEEN first_at AND last_at
        WINDOW in_time AS (ORDER BY read.read_at, read.seq)
    ),
    apart AS (
        SELECT remaining.*, count(*) FILTER (WHERE begins) OVER (ORDER BY read_at, seq) AS part FROM remaining
    )
    SELECT given_stream, given_epoch, given_tag,
           min(apart.read_at), (array_agg(apart.seq ORDER BY apart.read_at, apart.seq))[1],
           max(apart.read_at), (array_agg(apart.seq ORDER BY apart.read_at DESC, apart.seq DESC))[1],
           min(apart.seq), max(apart.seq), count(*)::integer, max(apart.position)
    FROM apart
    GROUP BY part;
END;
