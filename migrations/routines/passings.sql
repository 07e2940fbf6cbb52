-- version: 6
--
-- Passings: what a chip left at one stream in one epoch without a gap of a second or more, by the reader's time.
--
-- Whatever the order in which reads are stored, and however they are divided among looks, the same passings come out: a
-- passing is the first, the last, the lowest, the highest and the sum of what its reads say, and what lies less than a
-- second apart belongs together, which a read that comes late may find out of two that were apart until then.

-- One look: takes up to so many events from behind the streams' progress, merges them into passings and moves the progress,
-- all in the transaction of the call. Says how many events it took, and how many are left to take, of all streams; 0
-- where nobody can look at the moment: a process of the release before takes no null.
--
-- Reads with a tag and a time make passings; lines that are no reads have neither. A row with one of them alone, which no
-- process of ours writes, makes none: without a time nothing can be said of gaps.
--
-- The settings are for plans that do not follow the statistics, as of a drain (drain.sql): every row is found along the
-- key in whose order it is asked for.
CREATE OR REPLACE FUNCTION fill_passings(most_events integer, OUT taken bigint, OUT waiting bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    apart CONSTANT interval := '1 second';
    held_streams uuid[];
    shares bigint[];
BEGIN
    -- Whoever empties one of these, or several, has it for himself and then asks for the others, in an order of his own, or
    -- for rows of the progress: if this waited for him with anything in hand, he would wait for it. So it waits for none
    -- of them. All that it needs of each is had at once: who asks for more later may wait after all.
    BEGIN
        LOCK TABLE streams IN ROW SHARE MODE NOWAIT;
        LOCK TABLE events IN ACCESS SHARE MODE NOWAIT;
        LOCK TABLE passings_progress, passings IN ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        taken := 0;
        waiting := 0;
        RETURN;
    END;

    -- A stream that is new, or whose progress was taken away, begins with its first event. Not while another process begins
    -- with it, nor while its events are being changed (forget_passings): they would not see this row, nor this what they
    -- do. Nobody is waited for, not who is deleting the stream either.
    INSERT INTO passings_progress (stream_id, position)
    SELECT streams.stream_id, 0
    FROM streams
    LEFT JOIN LATERAL (
        SELECT true AS known FROM passings_progress AS progress
        WHERE progress.stream_id >= streams.stream_id AND progress.stream_id <= streams.stream_id
        ORDER BY progress.stream_id DESC LIMIT 1
    ) AS progress ON true
    -- In a CASE, so that nothing is locked of streams that are known.
    WHERE last_position > 0
      AND CASE WHEN known IS NULL THEN pg_try_advisory_xact_lock(x'72747067'::int, hashtext(streams.stream_id::text) & 255)
          END
    ORDER BY streams.stream_id
    FOR KEY SHARE OF streams SKIP LOCKED
    ON CONFLICT DO NOTHING;

    -- Those that have little to take come first: what is live stays prompt while a backlog of millions has the rest.
    WITH behind AS MATERIALIZED (
        SELECT streams.stream_id, last_position - progress.position AS events,
               sum(last_position - progress.position) OVER before AS events_before
        FROM streams
        CROSS JOIN LATERAL (
            SELECT position FROM passings_progress AS progress
            WHERE progress.stream_id >= streams.stream_id AND progress.stream_id <= streams.stream_id
            ORDER BY progress.stream_id DESC LIMIT 1
        ) AS progress
        WHERE last_position > progress.position
        WINDOW before AS (ORDER BY last_position - progress.position, streams.stream_id
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ),
    -- Another process that is at a stream holds its row. The statement after this one has a snapshot that is younger than
    -- the locks: it sees all passings that were made until now.
    held AS (
        SELECT behind.stream_id, least(events, most_events - coalesce(events_before, 0)) AS share
        FROM behind
        CROSS JOIN LATERAL (
            SELECT FROM passings_progress AS progress
            WHERE progress.stream_id >= behind.stream_id AND progress.stream_id <= behind.stream_id
            ORDER BY progress.stream_id DESC LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS locked
        WHERE coalesce(events_before, 0) < most_events
    )
    SELECT (SELECT coalesce(sum(events), 0) FROM behind),
           coalesce(array_agg(stream_id), '{}'), coalesce(array_agg(share), '{}')
    INTO waiting, held_streams, shares
    FROM held;
    taken := 0;
    IF held_streams = '{}' THEN
        RETURN;
    END IF;

    WITH page AS MATERIALIZED (
        SELECT held.stream_id, held.share, progress.row_place AS progress_place, progress.position AS taken_until,
               last_position, event.*
        FROM unnest(held_streams, shares) AS held(stream_id, share)
        CROSS JOIN LATERAL (
            SELECT progress.ctid AS row_place, position FROM passings_progress AS progress
            WHERE progress.stream_id >= held.stream_id AND progress.stream_id <= held.stream_id
            ORDER BY progress.stream_id DESC LIMIT 1
        ) AS progress
        CROSS JOIN LATERAL (
            SELECT last_position FROM streams
            WHERE streams.stream_id >= held.stream_id AND streams.stream_id <= held.stream_id
            ORDER BY streams.stream_id DESC LIMIT 1
        ) AS stream
        LEFT JOIN LATERAL (
            SELECT stream_epoch, tag_id, read_at, seq, events.position FROM events
            WHERE events.stream_id = held.stream_id AND events.position > progress.position
            ORDER BY events.position
            LIMIT held.share
        ) AS event ON true
    ),
    -- Reads less than a second apart, among those of the page: each begins a group or belongs to the one before it.
    divided AS (
        SELECT *, count(*) FILTER (WHERE begins) OVER chip AS place
        FROM (
            SELECT *, coalesce(read_at - lag(read_at) OVER chip >= apart, true) AS begins FROM page
            WHERE tag_id IS NOT NULL AND read_at IS NOT NULL
            WINDOW chip AS (PARTITION BY stream_id, stream_epoch, tag_id ORDER BY read_at, seq)
        ) AS read
        WINDOW chip AS (PARTITION BY stream_id, stream_epoch, tag_id ORDER BY read_at, seq)
    ),
    fresh AS MATERIALIZED (
        SELECT stream_id, stream_epoch, tag_id,
               min(read_at) AS first_read_at, (array_agg(seq ORDER BY read_at, seq))[1] AS first_seq,
               max(read_at) AS last_read_at, (array_agg(seq ORDER BY read_at DESC, seq DESC))[1] AS last_seq,
               min(seq) AS low_seq, max(seq) AS high_seq, count(*) AS reads, max(position) AS position
        FROM divided
        GROUP BY stream_id, stream_epoch, tag_id, place
    ),
    -- Passings that are less than a second from one of these. No two of a chip are less than a second apart, so of those
    -- that begin long before only the last can reach as far. One may be found by two groups, which it joins. Rows are
    -- compared whole: where single columns are equal to something another index gives the same order.
    touched AS MATERIALIZED (
        SELECT DISTINCT near.row_place, near.stream_id, near.stream_epoch, near.tag_id, near.first_read_at,
               near.first_seq, near.last_read_at, near.last_seq, near.low_seq, near.high_seq, near.reads, near.position
        FROM fresh
        CROSS JOIN LATERAL (
            (SELECT passings.ctid AS row_place, passings.* FROM passings
             WHERE (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                       >= (fresh.stream_id, fresh.stream_epoch, fresh.tag_id, timestamp '-infinity')
               AND (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                       <= (fresh.stream_id, fresh.stream_epoch, fresh.tag_id, fresh.first_read_at - apart)
             ORDER BY passings.stream_id DESC, passings.stream_epoch DESC, passings.tag_id DESC,
                      passings.first_read_at DESC
             LIMIT 1)
            UNION ALL
            (SELECT passings.ctid, passings.* FROM passings
             WHERE (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                       > (fresh.stream_id, fresh.stream_epoch, fresh.tag_id, fresh.first_read_at - apart)
               AND (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                       < (fresh.stream_id, fresh.stream_epoch, fresh.tag_id, fresh.last_read_at + apart)
             ORDER BY passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
        ) AS near
        WHERE near.last_read_at > fresh.first_read_at - apart
    ),
    together AS (
        SELECT *, count(*) FILTER (WHERE begins) OVER chip AS place
        FROM (
            SELECT *, coalesce(first_read_at - max(last_read_at) OVER earlier >= apart, true) AS begins
            FROM (SELECT * FROM touched UNION ALL SELECT NULL::tid, * FROM fresh) AS part
            WINDOW earlier AS (PARTITION BY stream_id, stream_epoch, tag_id ORDER BY first_read_at, row_place
                               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) AS part
        WINDOW chip AS (PARTITION BY stream_id, stream_epoch, tag_id ORDER BY first_read_at, row_place
                        ROWS UNBOUNDED PRECEDING)
    ),
    -- row_place: of the passing that begins when the whole does, if there is one: its key stays.
    merged AS MATERIALIZED (
        SELECT (array_agg(row_place ORDER BY first_read_at, row_place))[1] AS row_place,
               stream_id, stream_epoch, tag_id,
               min(first_read_at) AS first_read_at, (array_agg(first_seq ORDER BY first_read_at, first_seq))[1] AS first_seq,
               max(last_read_at) AS last_read_at,
               (array_agg(last_seq ORDER BY last_read_at DESC, last_seq DESC))[1] AS last_seq,
               min(low_seq) AS low_seq, max(high_seq) AS high_seq, sum(reads)::integer AS reads,
               max(position) AS position
        FROM together
        GROUP BY stream_id, stream_epoch, tag_id, place
    ),
    -- By their places: nobody changes passings of a stream whose progress is held.
    joined AS (
        DELETE FROM passings
        USING (SELECT row_place FROM touched EXCEPT SELECT row_place FROM merged) AS other
        WHERE passings.ctid = other.row_place
    ),
    written AS (
        MERGE INTO passings USING merged ON passings.ctid = merged.row_place
        WHEN MATCHED THEN UPDATE
        SET first_seq = merged.first_seq, last_read_at = merged.last_read_at, last_seq = merged.last_seq,
            low_seq = merged.low_seq, high_seq = merged.high_seq, reads = merged.reads, position = merged.position
        WHEN NOT MATCHED THEN INSERT
            (stream_id, stream_epoch, tag_id, first_read_at, first_seq, last_read_at, last_seq, low_seq, high_seq, reads,
             position)
        VALUES (merged.stream_id, merged.stream_epoch, merged.tag_id, merged.first_read_at, merged.first_seq,
                merged.last_read_at, merged.last_seq, merged.low_seq, merged.high_seq, merged.reads, merged.position)
        RETURNING passings.ctid
    ),
    -- Without a full page as far as the stream goes, of the same moment: numbers that an administrator has deleted would
    -- be looked for again and again else.
    moved AS (
        SELECT progress_place, taken_until, count(position) AS events,
               CASE WHEN count(position) = share THEN max(position)
                    ELSE greatest(last_position, taken_until) END AS position
        FROM page
        GROUP BY progress_place, taken_until, share, last_position
    ),
    advanced AS (
        UPDATE passings_progress AS progress SET position = moved.position
        FROM moved WHERE progress.ctid = moved.progress_place
    )
    SELECT coalesce(sum(events), 0), greatest(waiting - coalesce(sum(position - taken_until), 0), 0) INTO taken, waiting
    FROM moved;
END
$$;


-- The same, by one process at a time and with a pause behind each look that all of them keep: `rests` times as long as it
-- took, `rests_behind` times where more is left than was after the one before, `shortest` at the least and `longest` at the
-- most, in seconds; none where nothing was taken. Says for how long nobody looks; taken: null where it is not the time to
-- look, or another is at it. Whoever dies in a look leaves nothing behind, and whoever does in the pause is waited for no
-- longer than that. A pause that would last longer than any is none: the server's clock was set back.
--
-- The lock ("rtpt") before the row: what is read behind it is what the look before has left. Who has nothing to take writes
-- nothing.
CREATE OR REPLACE FUNCTION fill_passings_in_turn(
    most_events integer, rests float8, rests_behind float8, shortest float8, longest float8,
    OUT taken bigint, OUT waiting bigint, OUT rest float8)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
#variable_conflict use_column
DECLARE
    began CONSTANT timestamptz := clock_timestamp();
    is_free boolean := pg_try_advisory_xact_lock(x'72747074'::int, 0);
    before passings_turn;
BEGIN
    SELECT * INTO STRICT before FROM passings_turn;
    rest := extract(epoch FROM before.rest_until - began);
    IF NOT is_free OR rest > 0 AND rest <= longest THEN
        waiting := before.waiting;
        rest := least(greatest(rest, shortest), longest);
        RETURN;
    END IF;
    SELECT look.taken, look.waiting INTO taken, waiting FROM fill_passings(most_events) AS look;
    rest := shortest;
    IF taken > 0 THEN
        rest := extract(epoch FROM clock_timestamp() - began)
                * CASE WHEN waiting > before.waiting THEN rests_behind ELSE rests END;
        rest := least(greatest(rest, shortest), longest);
        UPDATE passings_turn SET rest_until = clock_timestamp() + make_interval(secs => rest), waiting = fill_passings_in_turn.waiting;
    END IF;
END
$$;


-- Whatever deletes or changes stored events has the passings of their streams made anew, as the events are then (the
-- triggers are in events.sql). Whoever is filling a stream holds its progress: this waits for his look, and what he has
-- made goes with the row.
--
-- There may be no row that could be waited for: of what is deleted piece by piece, the first piece has taken it away, and
-- he who makes it again has not committed. So who makes a row holds a lock that this waits for ("rtpg", in one order, so
-- that two do not wait in a circle). There are 256 of them, which streams share: a lock for each of 60,000 streams would
-- fill the server's table of locks, and end the statement. The row is looked for in a statement of its own, which sees
-- what was waited for.
CREATE OR REPLACE FUNCTION forget_passings_of(given_streams uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(x'72747067'::int, place)
    FROM (SELECT DISTINCT hashtext(stream_id::text) & 255 AS place FROM unnest(given_streams) AS stream_id
          ORDER BY place) AS streams;
    DELETE FROM passings_progress WHERE stream_id = ANY(given_streams);
END
$$;

CREATE OR REPLACE FUNCTION forget_all_passings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    DELETE FROM passings_progress;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER passings_emptied AFTER TRUNCATE ON passings
FOR EACH STATEMENT EXECUTE FUNCTION forget_all_passings();
