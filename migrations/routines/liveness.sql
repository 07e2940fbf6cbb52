-- version: 1
--
-- Who is alive: processes by lease and lock, sessions by their process.

CREATE OR REPLACE VIEW live_processes AS
SELECT p.*
FROM processes p
WHERE p.lease_expires_at > clock_timestamp()
  AND (NOT p.holds_lock
       OR EXISTS (SELECT FROM pg_locks l
                  WHERE l.locktype = 'advisory'
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND l.classid = 1381258067 AND l.objid = p.lock_key::oid AND l.objsubid = 2));

CREATE OR REPLACE VIEW live_forwarder_sessions AS
SELECT s.*
FROM forwarder_sessions s
WHERE s.ended_at IS NULL
  AND s.gateway_id IN (SELECT p.process_id FROM live_processes p);

CREATE OR REPLACE VIEW live_receiver_sessions AS
SELECT s.*
FROM receiver_sessions s
WHERE s.fanout_id IN (SELECT p.process_id FROM live_processes p);
