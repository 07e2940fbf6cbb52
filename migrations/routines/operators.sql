-- version: 8
--
-- What operators look at: how far receivers are, how streams are called, which processes should be there.

CREATE OR REPLACE FUNCTION numbers_in(ranges int8multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(sum(upper(each) - lower(each)), 0)::bigint FROM unnest(ranges) AS each);

-- How many events of an epoch lie above a sequence number: the numbers above it, less those that are missing. With
-- more gaps than the 1,000 that are kept, what is missing beyond them counts as events. The simple cases come first:
-- a function with a subquery is never inlined, and nearly all receivers are up to date.
CREATE OR REPLACE FUNCTION events_above(epoch stream_metrics, above bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN above >= epoch.last_seq THEN 0
    WHEN above <= 0 THEN epoch.dedup_count
    WHEN coalesce(upper(epoch.missing), 0) <= above + 1 THEN epoch.last_seq - above
    ELSE least(epoch.dedup_count, greatest(0, epoch.last_seq - above - numbers_in(
        epoch.missing * int8multirange(int8range(above, NULL, '()'))
    )))
END;

-- How many events of an epoch a receiver is owed, by its cursor (null: it has none). No event is looked at: the cursor
-- says how many it covers. Only of a row that says no number (of the release before, or where the list of gaps was full)
-- the numbers above it must do.
CREATE OR REPLACE FUNCTION events_owed(epoch stream_metrics, acked receiver_cursors) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN NOT acked.wanted THEN 0
            WHEN acked.event_count IS NULL THEN events_above(epoch, coalesce(acked.last_seq, 0))
            ELSE greatest(0, epoch.dedup_count - acked.event_count) END;

-- Every receiver and stream that a live session subscribes to or a receiver has acked of: the newest epoch with an ack
-- (null without any), and how many events of all epochs that it wants are owed, what was stored late below a cursor
-- included.
CREATE OR REPLACE VIEW receiver_streams AS
SELECT named.receiver_id, named.stream_id, named.subscribed, cursor_state.stream_epoch, cursor_state.last_seq,
       coalesce(cursor_state.behind, 0) AS behind, cursor_state.updated_at
FROM (
    SELECT receiver_id, stream_id, bool_or(subscribed) AS subscribed
    FROM (
        SELECT receiver_id, unnest(stream_ids) AS stream_id, true AS subscribed FROM live_receiver_sessions
        UNION ALL
        SELECT receiver_id, stream_id, false FROM receiver_cursors WHERE last_seq > 0
    ) AS either
    GROUP BY receiver_id, stream_id
) AS named
JOIN streams USING (stream_id)
CROSS JOIN LATERAL (
    SELECT max(cursors.stream_epoch) FILTER (WHERE cursors.last_seq > 0) AS stream_epoch,
           (array_agg(cursors.last_seq ORDER BY cursors.stream_epoch DESC) FILTER (WHERE cursors.last_seq > 0))[1]
               AS last_seq,
           sum(events_owed(epoch, cursors))::bigint AS behind,
           max(cursors.updated_at) FILTER (WHERE cursors.last_seq > 0) AS updated_at
    FROM stream_metrics AS epoch
    LEFT JOIN receiver_cursors AS cursors
        ON cursors.receiver_id = named.receiver_id AND cursors.stream_id = epoch.stream_id
       AND cursors.stream_epoch = epoch.stream_epoch
    WHERE epoch.stream_id = named.stream_id
) AS cursor_state;

-- How people call a forwarder: by the name that it gives itself, with its id where another gives itself the same.
CREATE OR REPLACE FUNCTION forwarder_title(id text, name text, is_shared boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(name, '') IN ('', id) THEN id WHEN is_shared THEN name || ' (' || id || ')' ELSE name END;

-- The names that several forwarders of streams give themselves. Whoever calls many streams by their titles asks once,
-- `name IN (SELECT * FROM shared_names())`: the whole of it is one pass over the streams.
CREATE OR REPLACE FUNCTION shared_names() RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT forwarder_display_name FROM streams WHERE forwarder_display_name <> ''
    GROUP BY forwarder_display_name HAVING min(forwarder_id) <> max(forwarder_id);
END;

-- How people call a stream; is_shared: its forwarder's name is another's too.
CREATE OR REPLACE FUNCTION stream_title(stream streams, is_shared boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(nullif(stream.display_alias, ''),
                forwarder_title(stream.forwarder_id, stream.forwarder_display_name, is_shared)
                    || ' · ' || stream.reader_ip);

-- The same of a single stream: each call looks at all of them.
CREATE OR REPLACE FUNCTION stream_title(stream streams) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN stream_title(stream, EXISTS (
    SELECT FROM streams AS other
    WHERE other.forwarder_display_name = stream.forwarder_display_name AND other.forwarder_id <> stream.forwarder_id));

-- Take a stream away that nothing was ever read of: a reader's address that is used no more, or was never right. With
-- its owner's rights: whoever may call it can delete nothing that holds a line. The stream's lock is the one that a
-- drain takes, so that no event is stored beside it; what is staged afterwards finds the stream gone, and its gateway
-- makes it anew. Says why it is not done, or 'deleted'.
CREATE OR REPLACE FUNCTION delete_empty_stream(given_id uuid) RETURNS text
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT FROM streams WHERE stream_id = given_id FOR UPDATE;
    -- A statement of its own: what it sees is younger than the lock.
    WITH found AS (
        SELECT CASE
            WHEN EXISTS (SELECT FROM events WHERE events.stream_id = given_id)
                OR EXISTS (SELECT FROM inbox WHERE inbox.stream_id = given_id)
                OR EXISTS (SELECT FROM poisoned_parts WHERE poisoned_parts.stream_id = given_id)
                OR EXISTS (SELECT FROM integrity_conflicts WHERE integrity_conflicts.stream_id = given_id) THEN 'used'
            WHEN EXISTS (SELECT FROM live_forwarder_sessions AS live
                         WHERE live.forwarder_id = streams.forwarder_id) THEN 'connected'
            ELSE 'deleted' END AS outcome
        FROM streams WHERE streams.stream_id = given_id
    ),
    gone AS (
        DELETE FROM streams USING found WHERE streams.stream_id = given_id AND found.outcome = 'deleted'
    )
    SELECT coalesce((SELECT outcome FROM found), 'absent');
END;

-- Whether a device had tokens and all are revoked: nobody waits for it any more.
CREATE OR REPLACE FUNCTION retired(kind text, id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT bool_and(revoked_at IS NOT NULL) FROM device_tokens
        WHERE device_type = kind
          AND (device_id = id  -- or one of the first generation (shared/transport/tokens.py)
               OR device_id = 'receiver-main' AND id = 'receiver-main.' || left(token_id::text, 8)))
       IS TRUE;

-- Processes that live, and those that died within the hour and that nobody has replaced: each process that has started
-- since stands for one dead one of its role. A process that ends in order has no row.
CREATE OR REPLACE VIEW expected_processes AS
WITH live AS MATERIALIZED (SELECT process_id FROM live_processes),
known AS (
    SELECT processes.*, live.process_id IS NOT NULL AS lives
    FROM processes LEFT JOIN live USING (process_id)
    WHERE live.process_id IS NOT NULL OR last_seen_at > now() - interval '1 hour'
)
-- By name: what is added to the table later comes after `lives`, or the view could not be replaced.
SELECT process_id, lock_key, role, host, pid, address, version, holds_lock, ready, connections, events_per_second,
       started_at, last_seen_at, lease_expires_at, lives, problem
FROM known
WHERE lives OR (
    SELECT count(*) FROM known AS later
    WHERE later.role = known.role AND later.lives AND later.started_at > known.last_seen_at
) <= (
    SELECT count(*) FROM known AS later
    WHERE later.role = known.role AND NOT later.lives AND later.last_seen_at > known.last_seen_at
);


-- Who keeps dead rows from being removed, for longer than that: the oldest snapshot, of a session of this database
-- or a prepared transaction; no row where there is no such. With its owner's rights, because
-- what others have under way is nobody's to see: an owner who is no superuser needs pg_read_all_stats to see all.
CREATE OR REPLACE FUNCTION oldest_snapshot(older_than interval)
RETURNS TABLE (holder text, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT held.holder, held.since
    FROM (
        SELECT format('%s (pid %s, user %s)', coalesce(nullif(application_name, ''), backend_type), pid, usename),
               xact_start, age(backend_xmin)
        FROM pg_stat_activity
        WHERE backend_xmin IS NOT NULL AND datname = current_database()
          AND xact_start < clock_timestamp() - older_than
        UNION ALL
        SELECT format('prepared transaction %s', gid), prepared, age(transaction)
        FROM pg_prepared_xacts
        WHERE database = current_database() AND prepared < clock_timestamp() - older_than
    ) AS held(holder, since, transactions)
    ORDER BY held.transactions DESC
    LIMIT 1;
END;


-- How many reads wait in the inbox, of which epochs; not what they are. A view, for who may not see the inbox can lock it
-- by this for a moment: a look at it is right only where nobody empties it between the snapshot and the look.
CREATE OR REPLACE VIEW waiting_reads AS SELECT stream_id, stream_epoch, event_count FROM inbox;
