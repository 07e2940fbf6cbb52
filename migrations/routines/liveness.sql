-- version: 8
--
-- Who is alive: processes by lease and lock, sessions by their process.

CREATE OR REPLACE VIEW live_processes AS
SELECT p.*
FROM processes p
-- clock_timestamp, because now() stands still in a transaction, and one that began earlier would take the dead for
-- living.
WHERE p.lease_expires_at > clock_timestamp()
  -- The lease ends for who hangs, the lock at once for who dies: the server lets go of it with the connection. Behind
  -- a pooler (LISTEN=off) no connection is a process's own: then the lease alone counts.
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

-- With the columns that its table had when this text was applied: a further one takes another version.
CREATE OR REPLACE VIEW live_receiver_sessions AS
SELECT s.*
FROM receiver_sessions s
WHERE s.fanout_id IN (SELECT p.process_id FROM live_processes p);


-- `processes` is what everybody looks at, so no service may change it: who may update or delete rows can lock them, or
-- the whole table, and everybody else is taken for dead. These have their owner's rights and change a row of the
-- caller's own role, which is the user that he logged in as; whoever may act as the owner is every role.

-- Whether the caller is a process of this role. Asked from inside of a function, where current_user is its owner.
CREATE OR REPLACE FUNCTION acts_for(given_role text) RETURNS boolean
LANGUAGE sql STABLE
RETURN session_user = 'rt_' || given_role OR pg_has_role(session_user, current_user, 'MEMBER');

-- A process appears, or is back after its connection was lost. Null for another role's user.
CREATE OR REPLACE FUNCTION enter_process(
    given_id uuid, given_role text, given_host text, given_pid integer, given_address text, given_version text,
    given_holds_lock boolean, lease_s double precision
) RETURNS integer
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, lease_expires_at)
    SELECT given_id, given_role, given_host, given_pid, given_address, given_version, given_holds_lock,
           clock_timestamp() + make_interval(secs => lease_s)
    WHERE acts_for(given_role)
    -- Back after its connection was lost: under the same lock key, which its former connection may still hold.
    ON CONFLICT (process_id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at
    WHERE processes.role = excluded.role
    RETURNING lock_key;
END;

-- Null when its row is gone.
CREATE OR REPLACE FUNCTION renew_process(
    given_id uuid, lease_s double precision, given_connections integer, given_events_per_second real,
    given_ready boolean, given_problem text
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE processes
    SET lease_expires_at = clock_timestamp() + make_interval(secs => lease_s), last_seen_at = clock_timestamp(),
        connections = given_connections, events_per_second = given_events_per_second, ready = given_ready,
        problem = left(given_problem, 300)
    WHERE process_id = given_id AND acts_for(role)
    RETURNING process_id;
END;

-- The same, with how long its commits take; what the release before calls stays as it is.
CREATE OR REPLACE FUNCTION renew_vitals(
    given_id uuid, lease_s double precision, given_connections integer, given_events_per_second real,
    given_ready boolean, given_problem text, given_commit_ms real
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE processes
    SET lease_expires_at = clock_timestamp() + make_interval(secs => lease_s), last_seen_at = clock_timestamp(),
        connections = given_connections, events_per_second = given_events_per_second, ready = given_ready,
        problem = left(given_problem, 300), commit_ms = given_commit_ms
    WHERE process_id = given_id AND acts_for(role)
    RETURNING process_id;
END;

-- The same, with how far its machine's clock is ahead of ours and whether somebody keeps it. Answers the time by our clock, of
-- which the process learns that; null when its row is gone.
CREATE OR REPLACE FUNCTION report_vitals(
    given_id uuid, lease_s double precision, given_connections integer, given_events_per_second real,
    given_ready boolean, given_problem text, given_commit_ms real, given_clock_ahead_ms real, given_clock_kept boolean
) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE processes
    SET lease_expires_at = clock_timestamp() + make_interval(secs => lease_s), last_seen_at = clock_timestamp(),
        connections = given_connections, events_per_second = given_events_per_second, ready = given_ready,
        problem = left(given_problem, 300), commit_ms = given_commit_ms, clock_ahead_ms = given_clock_ahead_ms,
        clock_kept = given_clock_kept
    WHERE process_id = given_id AND acts_for(role)
    RETURNING clock_timestamp();
END;

CREATE OR REPLACE FUNCTION leave_process(given_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM processes WHERE process_id = given_id AND acts_for(role);
END;

-- Rows of processes that died without leaving. Their sessions are derived as dead already.
CREATE OR REPLACE FUNCTION bury_processes() RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM processes WHERE lease_expires_at < clock_timestamp() - interval '1 day';
END;
