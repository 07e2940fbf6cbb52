-- version: 2
--
-- What forwarders report of their readers and batteries, as it holds now: rows say what a session told, here it is
-- judged by whether that session is still the one. What is not told by the session that is there now is not shown: an
-- older forwarder in the place of a newer one tells nothing, and silence is no fault of a reader.

CREATE OR REPLACE VIEW reported_readers AS
SELECT known.forwarder_id, known.reader_ip,
       -- Who tells of a reader, and not how its link is, has spoken with it.
       live.forwarder_id IS NOT NULL AND coalesce(known.connected, known.state = 'connected', true) AS connected,
       CASE WHEN live.forwarder_id IS NULL THEN 'disconnected'
            WHEN known.state IS NOT NULL THEN known.state
            WHEN known.connected IS NOT false THEN 'connected'
            ELSE 'disconnected' END AS state,
       known.reader_info, known.info_at,
       CASE WHEN live.session_id = known.session_id THEN known.download END AS download,
       known.changed_at, known.version
FROM reader_states AS known
LEFT JOIN live_forwarder_sessions AS live USING (forwarder_id)
WHERE live.session_id IS NULL OR live.session_id = known.session_id
   -- What a session tells first is here a second after it has begun. A reader that was unplugged before is taken to be
   -- so until then: else each reconnect of its forwarder would show it as connected in between.
   OR (live.connected_at > now() - interval '3 seconds'
       AND NOT coalesce(known.connected, known.state = 'connected', true));

-- A forwarder tells of its battery every five minutes at the least; after it has connected anew only when that is due,
-- so that what it told before holds for as long.
CREATE OR REPLACE VIEW reported_ups AS
SELECT known.forwarder_id,
       known.available AND live.forwarder_id IS NOT NULL
           AND greatest(known.received_at, live.connected_at) > now() - interval '10 minutes' AS available,
       known.status, known.received_at, known.version
FROM forwarder_ups AS known
LEFT JOIN live_forwarder_sessions AS live USING (forwarder_id);
