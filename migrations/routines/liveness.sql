-- version: 2
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


-- The right to delete rows of a table is the right to lock it whole, and `processes` is what everybody looks at. So no
-- room has it; these have their owner's rights, and take away what a room may: its own role's row, and what is dead for
-- a day, which is derived as dead already. Whoever may act as the owner is every role.
CREATE OR REPLACE FUNCTION leave_processes(given_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM processes
    WHERE process_id = given_id
      AND (session_user = 'rt_' || role OR pg_has_role(session_user, current_user, 'MEMBER'));
END;

CREATE OR REPLACE FUNCTION bury_processes() RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM processes WHERE lease_expires_at < clock_timestamp() - interval '1 day';
END;
