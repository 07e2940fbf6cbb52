-- version: 9
--
-- A drain: what the inbox holds becomes events, each once. It is one call.
--
-- A round trip costs a busy machine more than most of what is done in it. So the four of a drain (begin, lock, drain,
-- commit) and the two notifications of the path are spared. They are still sent when what they tell of is committed,
-- and never in a transaction that waits for a flush: NOTIFY holds one lock of the whole server until its transaction
-- ends.
--
-- Arrays are taken apart in the select list: as a function in FROM each of the seven filled a tuplestore for every
-- part, a tenth of a drain. The notification of new positions names the streams, so that a fanout asks for those and
-- not for all that it follows.
--
-- Every row is looked up in one form: LATERAL (SELECT ... WHERE key >= x AND key <= x ORDER BY key DESC LIMIT 1), on a
-- connection that sorts nothing (STEADY_PLANS in shared/db/connections.py). Two things hang on it:
-- - The plan. `key = x` leaves the planner the choice of the index and of the side to begin from, and it chooses by
--   statistics: of a table that has about one event a stream, or was analyzed when it was empty. Then each event is
--   looked for among all of its stream, or all streams are gone through for one. Here only the key gives the order.
-- - The newest version. Rows that change with every drain leave dead versions, which nobody may remove while somebody's
--   snapshot is older than they. The key then has thousands of entries, in the order of their places, and the newest
--   place is nearly always the highest: from the end it is found at once. For the same reason such rows are changed by
--   their place (ctid), and not by INSERT ... ON CONFLICT, which goes through all entries.


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
        FROM (
            SELECT stream_id, min(arrival) AS oldest FROM inbox
            WHERE stream_id <> ALL(resting_streams) AND stream_id = coalesce(only_stream, stream_id)
            GROUP BY stream_id
            ORDER BY oldest
        ) AS queued
        -- Locked one by one as they are asked for, in this order, until there are enough.
        CROSS JOIN LATERAL (
            SELECT stream_id FROM streams
            WHERE streams.stream_id >= queued.stream_id AND streams.stream_id <= queued.stream_id
            ORDER BY stream_id DESC LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS streams
        LIMIT most_streams
    ),
    counted AS MATERIALIZED (
        SELECT locked.stream_id FROM locked CROSS JOIN LATERAL (
            SELECT FROM stream_metrics AS metrics
            WHERE metrics.stream_id = locked.stream_id
              AND metrics.stream_epoch >= locked.stream_epoch AND metrics.stream_epoch <= locked.stream_epoch
            ORDER BY metrics.stream_epoch DESC LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS held
    )
    SELECT stream_id, stream_epoch IS NOT NULL AND stream_id NOT IN (SELECT stream_id FROM counted) AS resting
    FROM locked;
END
$$;


-- Second step, of streams whose locks are held. It stops taking parts beyond most_events or most_bytes, or takes just
-- one part.
--
--   taken      parts, oldest first, off the inbox, by their place, which nobody changes while their stream is locked
--   arrived    their events, of sessions that nobody has taken the device from
--   judged     new, retransmit (the same line under the identity) or conflict (another one): against what is
--              stored, and for copies within this drain against the first of them. The same line is the same bytes, or
--              the same but for one line end: an upgraded device sends as a frame what it sent as text
--   ...        new ones into events, at the next positions; conflicts aside; counts and outcomes
--
-- A conflict costs what an event costs: its own line is kept, and of the line that it is in conflict with the hash. So
-- the kept line, which may be long, goes no further than the comparison. An integer range cannot end above 2^63-1, so
-- the last number of all is left out of the gaps.
--
-- A gateway is told of what was stored, and nothing else became of its parts, by their receipts: see `drain`. A payload
-- has less than 8,000 bytes. Where these are more, or a part has none, it is told to look.
DROP FUNCTION IF EXISTS drain_streams(uuid[], integer, uuid, bigint, boolean);  -- what it was, without payloads
CREATE OR REPLACE FUNCTION store_parts(
    locked_streams uuid[], most_events integer, only_gateway uuid, only_part bigint, name_batches boolean,
    OUT result drained, OUT outcome_payloads text[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    -- Devices decide how long their lines are. The sizes are those of the arrays as they lie there.
    most_bytes CONSTANT bigint := 8 * 1024 * 1024;
    most_receipts CONSTANT integer := 380;
    done record;
BEGIN
    -- Taken off and stored in one statement: a drain that is cut off leaves the parts where they are. The fence is
    -- compared here and not where they were staged: a gateway that slept stages without knowing that another has its
    -- device.
    WITH taken AS (
        DELETE FROM inbox
        USING (
            SELECT ctid, sum(event_count) OVER (ORDER BY arrival) - event_count AS events_before,
                   sum(bytes) OVER (ORDER BY arrival) - bytes AS bytes_before
            FROM (
                SELECT ctid, arrival, event_count,
                       pg_column_size(raw_frames) + pg_column_size(reader_timestamps) AS bytes
                FROM inbox
                WHERE stream_id = ANY(locked_streams)
                  AND gateway_id = coalesce(only_gateway, gateway_id) AND part_id = coalesce(only_part, part_id)
            ) AS part
        ) AS queued
        WHERE queued.events_before < most_events AND queued.bytes_before < most_bytes
          AND inbox.ctid = queued.ctid
        RETURNING inbox.*, EXISTS (
            SELECT FROM forwarder_sessions AS newer
            WHERE newer.forwarder_id = inbox.forwarder_id AND newer.fence > inbox.fence
        ) AS fenced, (
            SELECT last_position FROM streams
            WHERE streams.stream_id >= inbox.stream_id AND streams.stream_id <= inbox.stream_id
            ORDER BY streams.stream_id DESC LIMIT 1
        ) AS last_position
    ),
    -- Unnested beside one another, all of one length, but for parse_errors of parts without any, which are empty and give
    -- NULLs: a row for each event, with its place in the part.
    arrived AS (
        SELECT last_position, gateway_id, part_id, arrival, session_id, stream_id, stream_epoch, received_at, framed,
               unnest(seqs) AS seq, unnest(raw_frames) AS raw_frame, unnest(reader_timestamps) AS reader_timestamp,
               unnest(read_types) AS read_type, unnest(tag_ids) AS tag_id, unnest(read_ats) AS read_at,
               unnest(parse_errors) AS parse_error, generate_subscripts(seqs, 1) AS place
        FROM taken
        WHERE NOT fenced
    ),
    -- Each event against what is stored and, for copies within this drain, against the first of them: only that one is
    -- new. The lines are compared here and go no further; of a conflict the hash of the kept one does.
    compared AS (
        SELECT arrived.*,
               stored.raw_frame IS NULL AND row_number() OVER copies = 1 AS is_new,
               CASE WHEN stored.raw_frame IS NOT NULL
                    THEN CASE WHEN arrived.raw_frame <> stored.raw_frame
                               AND without_line_end(arrived.raw_frame) <> without_line_end(stored.raw_frame)
                              THEN sha256(stored.raw_frame) END
                    WHEN arrived.raw_frame <> first_value(arrived.raw_frame) OVER copies
                     AND without_line_end(arrived.raw_frame) <> without_line_end(first_value(arrived.raw_frame) OVER copies)
                    THEN sha256(first_value(arrived.raw_frame) OVER copies) END AS kept_hash
        FROM arrived
        LEFT JOIN LATERAL (
            SELECT events.raw_frame FROM events
            WHERE events.stream_id = arrived.stream_id AND events.stream_epoch = arrived.stream_epoch
              AND events.seq >= arrived.seq AND events.seq <= arrived.seq
            ORDER BY events.seq DESC LIMIT 1
        ) AS stored ON true
        WINDOW copies AS (PARTITION BY arrived.stream_id, stream_epoch, seq ORDER BY arrival, place)
    ),
    judged AS (
        SELECT *, CASE WHEN is_new THEN 'new'
                       WHEN kept_hash IS NULL THEN 'retransmit'
                       ELSE 'conflict' END AS verdict
        FROM compared
    ),
    -- Positions in the order of arrival, behind the last one: the stream's row is locked until the commit, so that they
    -- become visible in their order, and whoever has read up to one misses nothing below it.
    stored AS (
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame,
                            reader_timestamp, read_type, tag_id, parse_error, framed)
        SELECT stream_id, stream_epoch, seq,
               last_position + row_number() OVER (PARTITION BY stream_id ORDER BY arrival, place),
               received_at, read_at, raw_frame, reader_timestamp, read_type, tag_id, parse_error, framed
        FROM judged
        WHERE verdict = 'new'
    ),
    -- A device that lost its journal sends the same conflicting line again and again: it is kept once, and counted each
    -- time (below).
    quarantined AS (
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_hash, rejected_frame,
                                         reader_timestamp, read_type, received_at, session_id, framed)
        SELECT stream_id, stream_epoch, seq, kept_hash, raw_frame, reader_timestamp, read_type, received_at,
               session_id, framed
        FROM judged
        WHERE verdict = 'conflict'
        ON CONFLICT (stream_id, stream_epoch, seq, sha256(rejected_frame)) DO NOTHING
    ),
    -- Whether a chip is new to its epoch is decided by the key, and not by a look: of two lines of one chip in this drain
    -- one row comes back. Counting these later would go through all of the epoch.
    new_chips AS (
        INSERT INTO epoch_chips (stream_id, stream_epoch, tag_id)
        SELECT DISTINCT stream_id, stream_epoch, tag_id FROM judged WHERE verdict = 'new' AND tag_id IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING stream_id, stream_epoch
    ),
    -- What this drain adds, by stream and epoch. raw is the sum of the three others, at every instant: they are written
    -- by one statement.
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
    -- Beside what there was: no row yet, of an epoch that begins, counts as zeros.
    totalled AS (
        SELECT counted.*, metrics.row_place, metrics.first_seq AS old_first, metrics.first_received_at AS old_first_received_at,
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
        LEFT JOIN LATERAL (
            SELECT stream_metrics.ctid AS row_place, stream_metrics.* FROM stream_metrics
            WHERE stream_metrics.stream_id = counted.stream_id
              AND stream_metrics.stream_epoch >= counted.stream_epoch
              AND stream_metrics.stream_epoch <= counted.stream_epoch
            ORDER BY stream_metrics.stream_epoch DESC LIMIT 1
        ) AS metrics ON true
    ),
    -- The newest of the kind count only where something new came: a retransmit of old lines must not make a chip or a
    -- reader's time look like the latest. Gaps: those of before, and those between the highest number of before and that
    -- of now, less what has been seen; so a late event fills its own, and a new highest number opens those below it.
    totals AS (
        SELECT row_place, stream_id, stream_epoch, old_raw + raw AS raw_count, old_dedup + dedup AS dedup_count,
               old_retransmit + retransmit AS retransmit_count, old_conflict + conflict AS conflict_count,
               old_unparsed + unparsed AS unparsed_count, old_chips + chips AS chip_count,
               least(old_first, first_seq) AS first_seq, greatest(old_last, last_seq) AS last_seq,
               least(old_first_received_at, first_received_at) AS first_received_at,
               coalesce(greatest(old_last_received_at, last_received_at), first_received_at) AS last_received_at,
               CASE WHEN dedup > 0 THEN coalesce(last_tag, old_tag) ELSE old_tag END AS last_tag_id,
               CASE WHEN dedup > 0 THEN last_timestamp
                    ELSE coalesce(old_timestamp, last_timestamp) END AS last_reader_timestamp,
               coalesce((
                   SELECT range_agg(gap) FROM (
                       SELECT gap
                       FROM unnest(old_missing + int8multirange(int8range(
                                least(old_last, 9223372036854775806) + 1,
                                least(greatest(old_last, last_seq), 9223372036854775806) + 1)) - seen) AS gap
                       LIMIT 1000
                   ) AS first_gaps), '{}') AS missing
        FROM totalled
    ),
    -- By its place where there is a row, which nobody changes meanwhile: an administrator who deletes the stream's past
    -- waits for the locks of the first step, or was first, and then the stream rests.
    metered AS (
        MERGE INTO stream_metrics AS metrics USING totals ON metrics.ctid = totals.row_place
        WHEN MATCHED THEN UPDATE
        SET raw_count = totals.raw_count, dedup_count = totals.dedup_count,
            retransmit_count = totals.retransmit_count, conflict_count = totals.conflict_count,
            unparsed_count = totals.unparsed_count, chip_count = totals.chip_count,
            first_seq = totals.first_seq, last_seq = totals.last_seq,
            first_received_at = totals.first_received_at, last_received_at = totals.last_received_at,
            last_tag_id = totals.last_tag_id, last_reader_timestamp = totals.last_reader_timestamp,
            missing = totals.missing
        WHEN NOT MATCHED THEN INSERT
            (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count,
             chip_count, first_seq, last_seq, first_received_at, last_received_at, last_tag_id,
             last_reader_timestamp, missing)
        VALUES (totals.stream_id, totals.stream_epoch, totals.raw_count, totals.dedup_count,
                totals.retransmit_count, totals.conflict_count, totals.unparsed_count, totals.chip_count,
                totals.first_seq, totals.last_seq, totals.first_received_at, totals.last_received_at,
                totals.last_tag_id, totals.last_reader_timestamp, totals.missing)
        RETURNING metrics.ctid
    ),
    -- With its events in one statement: nobody sees a last position that has no event, or an event beyond it. A retransmit
    -- moves nothing, and writes no row here.
    advanced AS (
        UPDATE streams
        SET last_position = streams.last_position + grown.dedup, stream_epoch = greatest(streams.stream_epoch, grown.top)
        FROM (
            SELECT moved.*, stream.row_place
            FROM (SELECT stream_id, sum(dedup)::bigint AS dedup, max(stream_epoch) AS top
                  FROM counted GROUP BY stream_id) AS moved
            CROSS JOIN LATERAL (
                SELECT streams.ctid AS row_place FROM streams
                WHERE streams.stream_id >= moved.stream_id AND streams.stream_id <= moved.stream_id
                ORDER BY streams.stream_id DESC LIMIT 1
            ) AS stream
        ) AS grown
        WHERE streams.ctid = grown.row_place
          AND (grown.dedup > 0 OR grown.top > streams.stream_epoch)
    ),
    -- One outcome for each part, also where nothing of it was new: its gateway waits for that, and stages again what
    -- has none. Of a conflict it must hear though all other lines of the part are stored.
    settled AS (
        SELECT gateway_id, part_id, receipt,
               CASE WHEN fenced THEN 'fenced'
                    WHEN (gateway_id, part_id) IN (
                        SELECT gateway_id, part_id FROM judged WHERE verdict = 'conflict') THEN 'conflict'
                    ELSE 'stored' END AS outcome
        FROM taken
    ),
    -- In the transaction of the events themselves: whoever sees an outcome knows that they are durable. Fenced parts are
    -- reported, too, or their gateway would stage them for ever.
    reported AS (
        INSERT INTO outcomes (gateway_id, outcome, part_ids)
        SELECT gateway_id, outcome, array_agg(part_id) FROM settled GROUP BY gateway_id, outcome
        RETURNING gateway_id, cardinality(part_ids) AS parts
    )
    -- Whether anything is left is asked of the same snapshot, in which the taken parts still lie, so they are left out
    -- by their keys. What has come since it sends its own notification.
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
           ) AS batches,
           ARRAY(
               SELECT concat_ws(' ', gateway_id,
                                CASE WHEN bool_and(outcome = 'stored' AND receipt IS NOT NULL)
                                          AND count(*) <= most_receipts
                                     THEN string_agg(receipt::text, ',') END)
               FROM settled GROUP BY gateway_id
           ) AS outcome_payloads
    INTO done
    FROM counted;
    result := ROW(done.parts, done.left, done.gateway_ids, done.stored, done.retransmitted, done.conflicting,
                  done.conflicts, done.batches);
    outcome_payloads := done.outcome_payloads;
END
$$;


-- A whole drain, in a transaction of its own, and its notifications in a next one that need not be flushed. With no
-- stream to be had there is no result. A caller that dies meanwhile, or stands still, holds up nobody.
--
-- A gateway acks by the notification alone where it names receipts: numbers that the gateway has drawn for its parts,
-- that only a writer can read, and that nobody has seen before the commit. So whoever knows one knows of the commit. It
-- spares the gateway a statement for each drain; the rows of `outcomes` are the truth for every notification that is lost.
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
    done       record;
BEGIN
    -- A statement of its own: the next one's snapshot is taken when the locks are held, and so sees all that their
    -- last holders have written.
    SELECT coalesce(array_agg(stream_id) FILTER (WHERE NOT found.resting), '{}'),
           coalesce(array_agg(stream_id) FILTER (WHERE found.resting), '{}')
    INTO ours, resting
    FROM lock_streams(resting_streams, most_streams, only_stream) AS found;

    IF ours <> '{}' THEN
        done := store_parts(ours, most_events, only_gateway, only_part, name_batches);
        result := done.result;
        written_at := clock_timestamp();
        -- The locks go with it. Cut off before it, nothing of all this has happened; behind it, only the notifications
        -- are missing, which the polls cover.
        COMMIT;
        commit_seconds := extract(epoch FROM clock_timestamp() - written_at);
        drain_seconds := extract(epoch FROM clock_timestamp() - began_at);

        -- For the transaction that has just begun and that commits when the call ends: nobody waits for its flush.
        PERFORM set_config('synchronous_commit', 'off', true);
        PERFORM ring_unless_jammed('rt_outcomes', payload) FROM unnest(done.outcome_payloads) AS payload;
        IF result.stored > 0 THEN
            -- A payload has less than 8,000 bytes. Where these are more, the notification does not say which.
            PERFORM ring_unless_jammed(
                'rt_positions', CASE WHEN cardinality(ours) <= 200 THEN array_to_string(ours, ',') ELSE '' END
            );
        END IF;
    END IF;
END
$$;
