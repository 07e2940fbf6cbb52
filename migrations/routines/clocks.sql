-- version: 2
--
-- Readers' clocks: zones, and when a read was really made.

-- How far the wall clock of a zone is ahead of UTC's at a moment; of no zone 0.
CREATE OR REPLACE FUNCTION zone_ahead_ms(zone text, at timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((extract(epoch FROM (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC')) * 1000)::bigint, 0);

-- When a read was made, by the database's clock: what its reader's said, less by how much that was ahead then. Null where
-- that is not known.
--
-- A read that was held back was made by the clock of then. So it is the newest mark (of 300, which are ten hours at the
-- least) under which the read was made behind the mark and not after it was received; in the night in which clocks are set
-- back, or where one was set in mid-race, only one of both hours can be. A second of either is what a read is on its way.
-- Of what was read before the first mark, which comes with the second look, the first is as good as any. A clock that was set
-- back shows some seconds twice: what was read of them before that and is received afterwards is taken for the later one.
CREATE OR REPLACE FUNCTION made_at(given_stream uuid, read_at timestamp, received_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT made.at
         FROM (SELECT at, utc_ahead_ms FROM reader_clock_marks AS mark
               WHERE mark.stream_id = given_stream AND mark.at <= received_at ORDER BY at DESC LIMIT 300) AS newest
         CROSS JOIN LATERAL (
             SELECT (read_at - newest.utc_ahead_ms * interval '1 millisecond') AT TIME ZONE 'UTC'
         ) AS made(at)
         WHERE made.at BETWEEN newest.at - interval '1 second' AND received_at + interval '1 second'
         ORDER BY newest.at DESC LIMIT 1),
        (SELECT made.at
         FROM (SELECT at, utc_ahead_ms FROM reader_clock_marks AS mark
               WHERE mark.stream_id = given_stream ORDER BY at LIMIT 1) AS oldest
         CROSS JOIN LATERAL (
             SELECT (read_at - oldest.utc_ahead_ms * interval '1 millisecond') AT TIME ZONE 'UTC'
         ) AS made(at)
         WHERE made.at BETWEEN oldest.at - interval '12 hours' AND received_at + interval '1 second')
    );
END;

-- A moment as the wall clock of a zone shows it, or of one that is so far from UTC, with how far: 2026-05-03T10:00:00.120+02:00.
CREATE OR REPLACE FUNCTION shown_in_zone(at timestamptz, zone text, zone_ms bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT to_char(at AT TIME ZONE 'UTC' + minutes * interval '1 minute', 'YYYY-MM-DD"T"HH24:MI:SS.MS')
           || CASE WHEN minutes < 0 THEN '-' ELSE '+' END
           || to_char(abs(minutes) * interval '1 minute', 'HH24:MI')
    FROM (
        SELECT (CASE WHEN zone IS NULL THEN coalesce(zone_ms, 0) ELSE zone_ahead_ms(zone, at) END / 60000)::integer
    ) AS ahead(minutes);
END;
