-- version: 8
--
-- What others than the writer change of a stream. They run with their owner's rights: who may update a column of
-- `streams` can hold its rows, and the writers pass over a stream whose row is held, so that nothing of it is stored.

-- The display name is the device's: it holds for all its streams. A writer never waits for a stream's lock, and two
-- gateways take theirs in the same order: no deadlock.
CREATE OR REPLACE FUNCTION rename_forwarder(given_forwarder text, given_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH changed AS MATERIALIZED (
        SELECT stream_id FROM streams
        WHERE forwarder_id = given_forwarder AND forwarder_display_name IS DISTINCT FROM given_name
        ORDER BY stream_id
        FOR NO KEY UPDATE
    )
    UPDATE streams SET forwarder_display_name = given_name FROM changed WHERE streams.stream_id = changed.stream_id;
END;

-- How many epochs of a forwarder have reads (what a memory had is no epoch that a device has begun), and of those that are asked for whether they have any, and whether they are
-- what their stream was commanded to last. Rows are looked up in one form, of which only the primary key gives the order
-- (drain.sql says why).
CREATE OR REPLACE FUNCTION epochs_of_forwarder(
    given_forwarder text, asked_streams uuid[], asked_epochs bigint[],
    OUT epoch_count bigint, OUT known boolean[], OUT commanded boolean[]
)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT (SELECT count(*)
            FROM streams
            CROSS JOIN LATERAL (
                SELECT FROM stream_metrics AS metrics WHERE metrics.stream_id = streams.stream_id
                ORDER BY metrics.stream_epoch
                OFFSET 0
            ) AS epoch
            WHERE streams.forwarder_id = given_forwarder AND NOT is_memory(streams.reader_ip)),
           coalesce(array_agg(found.epoch IS NOT NULL ORDER BY place), '{}'),
           coalesce(array_agg(found.commanded ORDER BY place), '{}')
    FROM unnest(asked_streams, asked_epochs) WITH ORDINALITY AS asked(stream_id, epoch, place)
    CROSS JOIN LATERAL (
        SELECT (SELECT metrics.stream_epoch FROM stream_metrics AS metrics
                WHERE metrics.stream_id = asked.stream_id
                  AND metrics.stream_epoch >= asked.epoch AND metrics.stream_epoch <= asked.epoch
                ORDER BY metrics.stream_epoch DESC LIMIT 1) AS epoch,
               coalesce((SELECT streams.commanded_epoch = asked.epoch FROM streams
                         WHERE streams.stream_id >= asked.stream_id AND streams.stream_id <= asked.stream_id
                         ORDER BY streams.stream_id DESC LIMIT 1), false) AS commanded
    ) AS found;
END;

-- Above what is stored, what was ever commanded, what lies in the inbox and what the session has seen. The row lock is
-- what makes two at once rise. Only for the session that has the device; and, where unless_beyond says an epoch, only
-- for a reader that was never commanded beyond it. Null: none is reserved.
CREATE OR REPLACE FUNCTION reserve_epoch(
    given_stream uuid, seen_epoch bigint, given_session uuid, unless_beyond bigint
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE streams SET stream_epoch = greatest(streams.stream_epoch, seen.epoch) + 1,
                       commanded_epoch = greatest(streams.stream_epoch, seen.epoch) + 1
    FROM (
        SELECT greatest(seen_epoch, (SELECT max(inbox.stream_epoch) FROM inbox WHERE inbox.stream_id = given_stream))
               AS epoch
    ) AS seen
    WHERE streams.stream_id = given_stream AND greatest(streams.stream_epoch, seen.epoch) < 2147483647
      AND (unless_beyond IS NULL OR coalesce(streams.commanded_epoch, 0) <= unless_beyond)
      AND EXISTS (SELECT FROM forwarder_sessions AS held
                  WHERE held.forwarder_id = streams.forwarder_id AND held.session_id = given_session
                    AND held.ended_at IS NULL)
    RETURNING streams.stream_epoch;
END;

-- Reserve a stream's next epoch, as reserve_epoch() does and unless it does not, and map it to a race in the same
-- transaction: whoever sees the epoch sees its race. A mapping that was made in advance is replaced. Null: nothing is
-- reserved, the race's being gone included. What another race has open in the stream ends here: its reads are those of
-- before; that is kept as a change of its boundaries, so that people see it and can undo it. (One more than are kept,
-- until the next change of that race: each ends what such a change has opened.)
--
-- Each step is a statement of its own, that sees what was committed while the one before it waited. First who moves
-- boundaries of the stream, who puts whole rows in place of others ("rtsg", as api/segments/store/rows.py): without that
-- what he puts back open would never end. Then the rows of races, as who deletes one does: the other way round the two
-- could wait for each other. Nothing of the stream is held while any of these is waited for, or writers would pass it
-- over. A race's row is not changed: an import into that race would have the gun wait for it.
CREATE OR REPLACE FUNCTION reserve_race_epoch(
    given_stream uuid, seen_epoch bigint, given_session uuid, given_race uuid, unless_beyond bigint
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT pg_advisory_xact_lock(x'72747367'::integer, hashtext(given_stream::text));
    SELECT FROM races
    WHERE race_id = given_race
       OR race_id IN (SELECT open.race_id FROM race_segments AS open
                      WHERE open.stream_id = given_stream AND open.to_epoch IS NULL)
    ORDER BY race_id
    FOR KEY SHARE;
    WITH reserved AS MATERIALIZED (
        SELECT reserve_epoch(given_stream, seen_epoch, given_session, unless_beyond) AS stream_epoch
        FROM races WHERE race_id = given_race
    ),
    mapped AS (
        INSERT INTO epoch_races (stream_id, stream_epoch, race_id)
        SELECT given_stream, stream_epoch, given_race FROM reserved WHERE stream_epoch IS NOT NULL
        ON CONFLICT (stream_id, stream_epoch) DO UPDATE SET race_id = excluded.race_id, mapped_at = excluded.mapped_at
        RETURNING stream_epoch
    ),
    ended AS (
        UPDATE race_segments SET to_epoch = mapped.stream_epoch, to_seq = 1
        FROM mapped
        WHERE race_segments.stream_id = given_stream AND race_id <> given_race AND to_epoch IS NULL
          AND from_epoch < mapped.stream_epoch
        RETURNING race_segments.race_id, race_segments.to_epoch
    ),
    -- Of all that the race has in the stream, as it was before this statement; only one can be open.
    noted AS (
        INSERT INTO segment_changes (race_id, stream_id, before, after, changed_by)
        SELECT ended.race_id, given_stream,
               jsonb_agg(jsonb_build_array(was.from_epoch, was.from_seq, was.to_epoch, was.to_seq)
                         ORDER BY was.from_epoch, was.from_seq),
               jsonb_agg(jsonb_build_array(was.from_epoch, was.from_seq, coalesce(was.to_epoch, ended.to_epoch),
                                           coalesce(was.to_seq, 1))
                         ORDER BY was.from_epoch, was.from_seq),
               'begin of ' || (SELECT name FROM races WHERE race_id = given_race)
        FROM ended JOIN race_segments AS was ON was.stream_id = given_stream AND was.race_id = ended.race_id
        GROUP BY ended.race_id
    )
    SELECT stream_epoch FROM mapped;
END;

-- The same by the name that gateways of the release before know, who say nothing of an epoch that is expected.
CREATE OR REPLACE FUNCTION reserve_epoch_of_race(
    given_stream uuid, seen_epoch bigint, given_session uuid, given_race uuid
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT reserve_race_epoch(given_stream, seen_epoch, given_session, given_race, NULL);
END;

-- The operators' name of a stream; null: there is no such stream.
CREATE OR REPLACE FUNCTION alias_stream(given_stream uuid, given_alias text) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE streams SET display_alias = given_alias WHERE stream_id = given_stream RETURNING stream_id;
END;

-- The same, of a stream that still has the name that was expected (or has the new one already); null: it has not, or
-- there is no such stream. Compared under the row's lock: of two at once, the second sees what the first has done.
CREATE OR REPLACE FUNCTION alias_stream_named(given_stream uuid, given_alias text, expected_alias text) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE streams SET display_alias = given_alias
    WHERE stream_id = given_stream
      AND coalesce(display_alias, '') IN (coalesce(expected_alias, ''), coalesce(given_alias, ''))
    RETURNING stream_id;
END;
