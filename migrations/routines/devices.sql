-- version: 1
--
-- What newer forwarders tell of their readers and batteries, written by gateways: the newest, of the session that has
-- the device. A gateway that was stopped and goes on writes nothing over what a later session has told.
--
-- Versions are handed out under one lock of all gateways, which each holds for a statement and its commit. So they are
-- committed in their order, and who asks for what is above the highest that he has seen misses nothing. Nobody waits
-- for a flush with it: what a crash takes away is told again, readers' within 10 s, batteries' within a minute.

CREATE OR REPLACE FUNCTION hand_out_device_versions() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(x'72746476'::int);  -- "rtdv"
END
$$;

-- Of each reader once: null is what was not told. Returns the forwarders of which something is another than before.
-- What a session did not tell, an earlier one did not tell for it, but for the reader's info.
CREATE OR REPLACE FUNCTION note_readers(
    given_forwarders text[], given_readers text[], given_sessions uuid[], given_connected boolean[],
    given_states text[], given_infos jsonb[], given_downloads jsonb[]
) RETURNS SETOF text
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM hand_out_device_versions();
    RETURN QUERY
    WITH noted AS (
        INSERT INTO reader_states AS known (forwarder_id, reader_ip, session_id, connected, state, reader_info,
                                            info_at, download, version)
        SELECT told.forwarder_id, reader_ip, told.session_id, connected, state, reader_info,
               CASE WHEN reader_info IS NOT NULL THEN now() END, download, nextval('device_version')
        FROM unnest(given_forwarders, given_readers, given_sessions, given_connected, given_states, given_infos,
                    given_downloads)
            AS told(forwarder_id, reader_ip, session_id, connected, state, reader_info, download)
        JOIN forwarder_sessions AS held
            ON held.forwarder_id = told.forwarder_id AND held.session_id = told.session_id
        ON CONFLICT (forwarder_id, reader_ip) DO UPDATE
        SET (session_id, connected, state, reader_info, info_at, download, changed_at, version) = (
            SELECT excluded.session_id, next.connected, next.state, next.reader_info,
                   coalesce(excluded.info_at, known.info_at), next.download,
                   CASE WHEN next.changed THEN now() ELSE known.changed_at END,
                   CASE WHEN next.changed THEN excluded.version ELSE known.version END
            FROM (
                SELECT merged.*,
                       (known.session_id, known.connected, known.state, known.reader_info, known.download)
                       IS DISTINCT FROM
                       (excluded.session_id, merged.connected, merged.state, merged.reader_info, merged.download)
                       AS changed
                FROM (
                    SELECT coalesce(excluded.connected, CASE WHEN same THEN known.connected END) AS connected,
                           coalesce(excluded.state, CASE WHEN same THEN known.state END) AS state,
                           coalesce(excluded.reader_info, known.reader_info) AS reader_info,
                           coalesce(excluded.download, CASE WHEN same THEN known.download END) AS download
                    FROM (SELECT known.session_id = excluded.session_id) AS session(same)
                ) AS merged
            ) AS next
        )
        RETURNING new.forwarder_id, new.version IS DISTINCT FROM old.version AS changed
    )
    SELECT DISTINCT forwarder_id FROM noted WHERE changed;
END
$$;

-- Of each forwarder once. Returns, of those that were noted, whether power was plugged as far as was known before, and
-- as far as is known now: over sessions, because a loss of power may take the link down with it. A UPS that tells no
-- status keeps the last one.
CREATE OR REPLACE FUNCTION note_ups(
    given_forwarders text[], given_sessions uuid[], given_available boolean[], given_statuses jsonb[]
) RETURNS TABLE (forwarder_id text, was_plugged boolean, is_plugged boolean, battery_percent integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM hand_out_device_versions();
    RETURN QUERY
    INSERT INTO forwarder_ups AS known (forwarder_id, session_id, available, status, version)
    SELECT told.forwarder_id, told.session_id, available, status, nextval('device_version')
    FROM unnest(given_forwarders, given_sessions, given_available, given_statuses)
        AS told(forwarder_id, session_id, available, status)
    JOIN forwarder_sessions AS held
        ON held.forwarder_id = told.forwarder_id AND held.session_id = told.session_id
    ON CONFLICT (forwarder_id) DO UPDATE
    SET session_id = excluded.session_id, available = excluded.available,
        status = coalesce(excluded.status, known.status), received_at = now(), version = excluded.version
    RETURNING new.forwarder_id, (old.status -> 'power_plugged')::boolean, (new.status -> 'power_plugged')::boolean,
              (new.status -> 'battery_percent')::integer;
END
$$;
