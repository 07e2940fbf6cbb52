-- version: 1
--
-- A drain: what the inbox holds becomes events, each once. It is one call.
--
-- A round trip costs a busy machine more than most of what is done in it. So the four of a drain (begin, lock, drain,
-- commit) and the two bells of the path are spared. The bells still ring when what they tell of is committed, and
-- never in a transaction that waits for a flush: NOTIFY holds one lock of the whole server until its transaction ends.
--
-- Arrays are taken apart in the select list: as a function in FROM each of the seven filled a tuplestore for every part,
-- a tenth of a drain. The bell of new positions names the streams, so that a fanout asks for those and not for all that
-- it follows.


-- First step of a drain: the streams that have something in the inbox and that nobody else works on, those first that
-- wait longest; not those that rest, or just one. The draining statement comes after it, so that its snapshot is
-- younger than the locks. FOR NO KEY UPDATE: plain FOR UPDATE would also block whoever inserts a row that refers to
-- the stream.
--
-- An administrator who deletes a stream's past begins with its counts. They are locked too, the row of the highest
-- epoch for all: until his transaction ends nothing may be written that it half deletes, and no count may be added
-- to a row that it is about to take away. `resting` tells that he was first.
CREATE OR REPLACE FUNCTION lock_streams(resting_streams uuid[], most_streams integer, only_stream uuid)
RETURNS TABLE (stream_id uuid, resting boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH locked AS MATERIALIZED (
        SELECT streams.stream_id,
               (SELECT max(stream_epoch) FROM stream_metrics
                WHERE stream_metrics.stream_id = streams.stream_id) AS stream_epoch
        FROM (SELECT stream_id, min(arrival) AS oldest FROM inbox GROUP BY stream_id) AS queued
        JOIN streams USING (stream_id)
        WHERE stream_id <> ALL(resting_streams) AND stream_id = coalesce(only_stream, stream_id)
        ORDER BY queued.oldest
        LIMIT most_streams
        FOR NO KEY UPDATE OF streams SKIP LOCKED
    ),
    counted AS MATERIALIZED (
        SELECT stream_metrics.stream_id FROM locked JOIN stream_metrics USING (stream_id, stream_epoch)
        FOR NO KEY UPDATE OF stream_metrics SKIP LOCKED
    )
    SELECT stream_id, stream_epoch IS NOT NULL AND stream_id NOT IN (SELECT stream_id FROM counted) AS resting
    FROM locked;
END
$$;


-- Second step, of streams whose locks are held. It stops taking parts beyond most_events, or takes just one part.
--
--   taken      parts, oldest first, off the inbox
--   arrived    their events, of sessions that nobody has taken the device from
--   judged     new, retransmit (same bytes under the identity) or conflict (other bytes): against what is
--              stored, and for copies within this drain against the first of them
--   ...        new ones into events, at the next positions; conflicts aside; counts and outcomes
--
-- The look-up of stored events is LATERAL with LIMIT so that it is one probe of the primary key for each event,
-- whatever the planner thinks of row counts; for the same reason parts are taken by their place (ctid), which nobody
-- changes while their stream is locked. An integer range cannot end above 2^63-1, so the last number of all
-- is left out of the gaps.
CREATE OR REPLACE FUNCTION drain_streams(
    locked_streams uuid[], most_events integer, only_gateway uuid, only_part bigint, name_batches boolean
) RETURNS drained
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    result drained;
BEGIN
    WITH taken AS (
        DELETE FROM inbox
        USING (
            SELECT ctid, sum(event_count) OVER (ORDER BY arrival) - event_count AS events_before
            FROM inbox
            WHERE stream_id = ANY(locked_streams)
              AND gateway_id = coalesce(only_gateway, gateway_id) AND part_id = coalesce(only_part, part_id)
        ) AS queued
        WHERE queued.events_before < most_events
          AND inbox.ctid = queued.ctid
        RETURNING inbox.*, EXISTS (
            SELECT FROM forwarder_sessions AS newer
            WHERE newer.forwarder_id = inbox.forwarder_id AND newer.fence > inbox.fence
        ) AS fenced
    ),
    arrived AS (
        SELECT gateway_id, part_id, arrival, session_id, stream_id, stream_epoch, received_at,
               unnest(seqs) AS seq, unnest(raw_frames) AS raw_frame, unnest(reader_timestamps) AS reader_timestamp,
               unnest(read_types) AS read_type, unnest(tag_ids) AS tag_id, unnest(read_ats) AS read_at,
               unnest(parse_errors) AS parse_error, generate_subscripts(seqs, 1) AS place
        FROM taken
        WHERE NOT fenced
    ),
    compared AS (
        SELECT arrived.*,
               row_number() OVER copies AS copy,
               stored.raw_frame IS NULL AS unknown,
               coalesce(stored.raw_frame, first_value(arrived.raw_frame) OVER copies) AS kept_frame
        FROM arrived
        LEFT JOIN LATERAL (
            SELECT events.raw_frame FROM events
            WHERE events.stream_id = arrived.stream_id
              AND events.stream_epoch = arrived.stream_epoch
              AND events.seq = arrived.seq
            LIMIT 1
        ) AS stored ON true
        WINDOW copies AS (PARTITION BY arrived.stream_id, stream_epoch, seq ORDER BY arrival, place)
    ),
    judged AS (
        SELECT *, CASE WHEN unknown AND copy = 1 THEN 'new'
                       WHEN raw_frame = kept_frame THEN 'retransmit'
                       ELSE 'conflict' END AS verdict
        FROM compared
    ),
    stored AS (
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame,
                            reader_timestamp, read_type, tag_id, parse_error)
        SELECT stream_id, judged.stream_epoch, seq,
               last_position + row_number() OVER (PARTITION BY stream_id ORDER BY arrival, place),
               received_at, read_at, raw_frame, reader_timestamp, read_type, tag_id, parse_error
        FROM judged JOIN streams USING (stream_id)
        WHERE verdict = 'new'
    ),
    quarantined AS (
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame,
                                         reader_timestamp, read_type, received_at, session_id)
        SELECT stream_id, stream_epoch, seq, kept_frame, raw_frame, reader_timestamp, read_type, received_at,
               session_id
        FROM judged
        WHERE verdict = 'conflict'
        ON CONFLICT (stream_id, stream_epoch, seq, sha256(rejected_frame)) DO NOTHING
    ),
    new_chips AS (
        INSERT INTO epoch_chips (stream_id, stream_epoch, tag_id)
        SELECT DISTINCT stream_id, stream_epoch, tag_id FROM judged WHERE verdict = 'new' AND tag_id IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING stream_id, stream_epoch
    ),
    counted AS (
        SELECT stream_id, stream_epoch,
               count(*) AS raw,
               count(*) FILTER (WHERE verdict = 'new') AS dedup,
               count(*) FILTER (WHERE verdict = 'retransmit') AS retransmit,
               count(*) FILTER (WHERE verdict = 'conflict') AS conflict,
               count(*) FILTER (WHERE verdict = 'new' AND parse_error IS NOT NULL) AS unparsed,
               min(seq) AS first_seq,
               max(seq) AS last_seq,
               min(received_at) AS first_received_at,
               max(received_at) FILTER (WHERE verdict = 'new') AS last_received_at,
               (array_agg(tag_id ORDER BY arrival DESC, place DESC) FILTER (WHERE tag_id IS NOT NULL))[1] AS last_tag,
               (array_agg(reader_timestamp ORDER BY arrival DESC, place DESC))[1] AS last_timestamp,
               range_agg(int8range(seq, least(seq, 9223372036854775806) + 1)) AS seen
        FROM judged
        GROUP BY stream_id, stream_epoch
    ),
    totalled AS (
        SELECT counted.*, metrics.first_seq AS old_first, metrics.first_received_at AS old_first_received_at,
               metrics.last_received_at AS old_last_received_at, metrics.last_tag_id AS old_tag,
               metrics.last_reader_timestamp AS old_timestamp,
               coalesce(metrics.raw_count, 0) AS old_raw, coalesce(metrics.dedup_count, 0) AS old_dedup,
               coalesce(metrics.retransmit_count, 0) AS old_retransmit,
               coalesce(metrics.conflict_count, 0) AS old_conflict,
               coalesce(metrics.unparsed_count, 0) AS old_unparsed, coalesce(metrics.chip_count, 0) AS old_chips,
               coalesce(metrics.last_seq, 0) AS old_last,
               coalesce(metrics.missing, '{}') AS old_missing,
               (SELECT count(*) FROM new_chips
                WHERE new_chips.stream_id = counted.stream_id
                  AND new_chips.stream_epoch = counted.stream_epoch) AS chips
        FROM counted
        LEFT JOIN stream_metrics AS metrics USING (stream_id, stream_epoch)
    ),
    metered AS (
        INSERT INTO stream_metrics AS metrics
            (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count,
             chip_count, first_seq, last_seq, first_received_at, last_received_at, last_tag_id,
             last_reader_timestamp, missing)
        SELECT stream_id, stream_epoch, old_raw + raw, old_dedup + dedup, old_retransmit + retransmit,
               old_conflict + conflict, old_unparsed + unparsed, old_chips + chips,
               least(old_first, first_seq), greatest(old_last, last_seq),
               least(old_first_received_at, first_received_at),
               coalesce(greatest(old_last_received_at, last_received_at), first_received_at),
               CASE WHEN dedup > 0 THEN coalesce(last_tag, old_tag) ELSE old_tag END,
               CASE WHEN dedup > 0 THEN last_timestamp ELSE coalesce(old_timestamp, last_timestamp) END,
               coalesce((
                   SELECT range_agg(gap) FROM (
                       SELECT gap
                       FROM unnest(old_missing + int8multirange(int8range(
                                least(old_last, 9223372036854775806) + 1,
                                least(greatest(old_last, last_seq), 9223372036854775806) + 1)) - seen) AS gap
                       LIMIT 1000
                   ) AS first_gaps), '{}')
        FROM totalled
        ON CONFLICT (stream_id, stream_epoch) DO UPDATE
        SET raw_count = excluded.raw_count, dedup_count = excluded.dedup_count,
            retransmit_count = excluded.retransmit_count, conflict_count = excluded.conflict_count,
            unparsed_count = excluded.unparsed_count, chip_count = excluded.chip_count,
            first_seq = excluded.first_seq, last_seq = excluded.last_seq,
            first_received_at = excluded.first_received_at, last_received_at = excluded.last_received_at,
            last_tag_id = excluded.last_tag_id, last_reader_timestamp = excluded.last_reader_timestamp,
            missing = excluded.missing
    ),
    advanced AS (
        UPDATE streams
        SET last_position = last_position + grown.dedup, stream_epoch = greatest(streams.stream_epoch, grown.top)
        FROM (SELECT stream_id, sum(dedup)::bigint AS dedup, max(stream_epoch) AS top
              FROM counted GROUP BY stream_id) AS grown
        WHERE streams.stream_id = grown.stream_id
          AND (grown.dedup > 0 OR grown.top > streams.stream_epoch)
    ),
    reported AS (
        INSERT INTO outcomes (gateway_id, outcome, part_ids)
        SELECT gateway_id, outcome, array_agg(part_id)
        FROM (
            SELECT gateway_id, part_id,
                   CASE WHEN fenced THEN 'fenced'
                        WHEN (gateway_id, part_id) IN (
                            SELECT gateway_id, part_id FROM judged WHERE verdict = 'conflict') THEN 'conflict'
                        ELSE 'stored' END AS outcome
            FROM taken
        ) AS parts
        GROUP BY gateway_id, outcome
        RETURNING gateway_id, cardinality(part_ids) AS parts
    )
    SELECT (SELECT coalesce(sum(parts), 0)::integer FROM reported) AS parts,
           EXISTS (
               SELECT FROM inbox WHERE (gateway_id, part_id) NOT IN (SELECT gateway_id, part_id FROM taken)
           ) AS left,
           ARRAY(SELECT DISTINCT gateway_id FROM reported) AS gateway_ids,
           coalesce(sum(dedup), 0)::bigint AS stored,
           coalesce(sum(retransmit), 0)::bigint AS retransmitted,
           coalesce(sum(conflict), 0)::bigint AS conflicting,
           ARRAY(
               SELECT ROW(stream_id, stream_epoch, seq)::event_identity FROM judged WHERE verdict = 'conflict' LIMIT 20
           ) AS conflicts,
           ARRAY(
               SELECT DISTINCT ROW(forwarder_id, received_at)::batch_name FROM taken WHERE name_batches AND NOT fenced
           ) AS batches
    INTO result
    FROM counted;
    RETURN result;
END
$$;


-- A whole drain, in a transaction of its own, and its bells in a next one that need not be flushed. With no stream to
-- be had there is no result. A caller that dies meanwhile, or stands still, holds up nobody.
CREATE OR REPLACE PROCEDURE drain(
    resting_streams uuid[], most_streams integer, most_events integer, name_batches boolean,
    only_stream uuid, only_gateway uuid, only_part bigint,
    OUT resting uuid[], OUT result drained, OUT drain_seconds double precision, OUT commit_seconds double precision
)
LANGUAGE plpgsql AS $$
DECLARE
    began_at   timestamptz := clock_timestamp();
    written_at timestamptz;
    ours       uuid[];
BEGIN
    SELECT coalesce(array_agg(stream_id) FILTER (WHERE NOT found.resting), '{}'),
           coalesce(array_agg(stream_id) FILTER (WHERE found.resting), '{}')
    INTO ours, resting
    FROM lock_streams(resting_streams, most_streams, only_stream) AS found;

    IF ours <> '{}' THEN
        result := drain_streams(ours, most_events, only_gateway, only_part, name_batches);
        written_at := clock_timestamp();
        COMMIT;
        commit_seconds := extract(epoch FROM clock_timestamp() - written_at);
        drain_seconds := extract(epoch FROM clock_timestamp() - began_at);

        PERFORM set_config('synchronous_commit', 'off', true);
        PERFORM ring_unless_jammed('rt_outcomes', gateway_id::text)
        FROM unnest(result.gateway_ids) AS gateway_id;
        IF result.stored > 0 THEN
            -- A payload has less than 8,000 bytes. Where these are more, the bell does not say which.
            PERFORM ring_unless_jammed(
                'rt_positions', CASE WHEN cardinality(ours) <= 200 THEN array_to_string(ours, ',') ELSE '' END
            );
        END IF;
    END IF;
END
$$;
