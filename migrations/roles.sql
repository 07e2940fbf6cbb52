-- A database user for each service, with exactly what that service's part of the matrix in ARCHITECTURE.md takes. To be
-- run by the owner of the tables, in the database, after every migration; as often as one likes. `rt-server roles`
-- does that; so does psql.
--
-- The users are made without a password, so with password authentication nobody can be them until one is set
-- (`rt-server roles --passfiles`, or `\password rt_gateway` and so on in psql).
--
-- Reading is granted by the table where it is the service's job, by the column where a secret is near; changing always
-- by the column: the right to update or delete in a table is also the right to lock it whole, one to update a column is
-- not. What a service must delete from a table that others need, a function of its owner's deletes for it.
--
-- What is not granted here is not granted: everything is taken back first, in the same transaction.

BEGIN;

-- Two at once would stumble over each other's rows in the catalog.
SELECT pg_advisory_xact_lock(x'7274726c'::int);  -- "rtrl"

DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['rt_gateway', 'rt_writer', 'rt_fanout', 'rt_api'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', service);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, rt_gateway, rt_writer, rt_fanout, rt_api',
                   current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO rt_gateway, rt_writer, rt_fanout, rt_api',
                   current_database());
    -- The writer empties the inbox by way of temporary tables.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO rt_writer', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC, rt_gateway, rt_writer, rt_fanout, rt_api;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM rt_gateway, rt_writer, rt_fanout, rt_api;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM rt_gateway, rt_writer, rt_fanout, rt_api;
REVOKE ALL ON ALL ROUTINES IN SCHEMA public FROM rt_gateway, rt_writer, rt_fanout, rt_api;
REVOKE ALL ON FUNCTION events_above, lock_streams, store_parts, ring_unless_jammed, hand_out_device_versions,
                          note_readers, note_ups
    FROM PUBLIC;
REVOKE ALL ON PROCEDURE drain FROM PUBLIC;
-- Functions are everybody's until that is taken back: of all that have their owner's rights, those to come too.
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
    END LOOP;
END
$$;


-- What one service can take from all others, as far as a user can be bounded. Some of it only a superuser may set, or
-- who made the users: the doctor says what is missing (`connections`). What nothing here bounds is in
-- deploy/docs/security.md: advisory locks, and row locks of tables that a service may update.

DO $$
DECLARE
    service         text;
    connections  integer := current_setting('max_connections')::integer
                          - current_setting('superuser_reserved_connections')::integer
                          - current_setting('reserved_connections')::integer;
    large_object regprocedure;
BEGIN
    FOREACH service IN ARRAY ARRAY['rt_gateway', 'rt_writer', 'rt_fanout', 'rt_api'] LOOP
        -- Two fifths: one that takes all it can leaves the others theirs, and none is short of what it needs.
        BEGIN
            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', service, connections * 2 / 5);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'the connections of % stay unbounded: %', service, SQLERRM;
        END;
        -- Sorting what is endless fills the disk; none of our statements sorts more than fits into memory.
        BEGIN
            EXECUTE format('ALTER ROLE %I SET temp_file_limit = %L', service, '1GB');
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'the temporary files of % stay unbounded: %', service, SQLERRM;
        END;
    END LOOP;
    -- Large objects belong to no table, so no grant keeps a service from filling the disk with them. Nothing here uses
    -- any.
    FOR large_object IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND proname IN ('lo_create', 'lo_creat', 'lo_from_bytea', 'lo_open', 'lo_put', 'lowrite', 'lo_import',
                          'lo_truncate', 'lo_truncate64')
    LOOP
        BEGIN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', large_object);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'large objects stay everybody''s: %', SQLERRM;
        END;
    END LOOP;
END
$$;


-- Every service: looks whether the schema is right, keeps its own row, adds to the operators' log and keeps it short.

GRANT USAGE ON SCHEMA public TO rt_gateway, rt_writer, rt_fanout, rt_api;
GRANT SELECT ON schema_migrations, schema_routines, processes, live_processes TO rt_gateway, rt_writer, rt_fanout, rt_api;
GRANT EXECUTE ON FUNCTION ring_unless_jammed, enter_process, renew_process, renew_vitals, report_vitals, leave_process,
                          bury_processes, trim_activity
    TO rt_gateway, rt_writer, rt_fanout, rt_api;
GRANT INSERT (level, process_id, event, fields, of_device)
    ON activity TO rt_gateway, rt_writer, rt_fanout, rt_api;


-- The gateway faces the internet. It stages and does not see what is staged; it takes outcomes away and writes none;
-- it makes streams and changes nothing that counts. Of events and what is made of them it reads nothing.

GRANT EXECUTE ON FUNCTION identify_device, authenticate_device, readers_in_use TO rt_gateway;
GRANT SELECT (token_id, revoked_at) ON device_tokens TO rt_gateway;
GRANT SELECT, INSERT (forwarder_id, reader_ip, forwarder_display_name) ON streams TO rt_gateway;
GRANT EXECUTE ON FUNCTION epochs_of_forwarder, rename_forwarder, reserve_epoch, reserve_epoch_of_race, reserve_race_epoch TO rt_gateway;
GRANT SELECT, INSERT,
      UPDATE (session_id, fence, gateway_id, token_id, display_name, connected_at, ended_at, probe_asked_at,
              probe_answered_at)
    ON forwarder_sessions TO rt_gateway;
GRANT SELECT, INSERT (forwarder_id, fault, complaint), UPDATE (complaint, since, last_at, ended_at)
    ON forwarder_faults TO rt_gateway;
GRANT USAGE ON SEQUENCE session_fence TO rt_gateway;
GRANT SELECT (gateway_id, part_id, stream_id, stream_epoch),
      INSERT (gateway_id, part_id, receipt, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
              event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats, parse_errors, framed)
    ON inbox TO rt_gateway;
GRANT SELECT, INSERT ON inbox_generation TO rt_gateway;
GRANT EXECUTE ON FUNCTION collect_outcomes, take_commands, end_command TO rt_gateway;
GRANT EXECUTE ON FUNCTION hand_out_device_versions, note_readers, note_ups TO rt_gateway;
GRANT EXECUTE ON FUNCTION take_memory_parts, end_memory_parts TO rt_gateway;
GRANT USAGE ON SEQUENCE device_version TO rt_gateway;
GRANT SELECT, INSERT,
      UPDATE (session_id, connected, state, reader_info, info_at, download, changed_at, version)
    ON reader_states TO rt_gateway;
GRANT SELECT, INSERT, UPDATE (session_id, available, status, received_at, version) ON forwarder_ups TO rt_gateway;
GRANT SELECT, INSERT, UPDATE (clearing_until) ON clearing_readers TO rt_gateway;


-- The writer speaks to nobody. It alone writes what is stored, and it never changes or deletes an event.

GRANT SELECT ON streams, events, stream_metrics, epoch_chips, integrity_conflicts, inbox, outcomes, poisoned_parts,
      forwarder_sessions
    TO rt_writer;
GRANT UPDATE (last_position, stream_epoch) ON streams TO rt_writer;
GRANT INSERT ON events, epoch_chips, poisoned_parts TO rt_writer;
GRANT DELETE ON poisoned_parts TO rt_writer;
GRANT INSERT,
      UPDATE (raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count, chip_count, first_seq, last_seq,
              first_received_at, last_received_at, last_tag_id, last_reader_timestamp, missing)
    ON stream_metrics TO rt_writer;
GRANT INSERT (stream_id, stream_epoch, seq, kept_hash, rejected_frame, reader_timestamp, read_type, received_at,
              session_id, framed)
    ON integrity_conflicts TO rt_writer;
-- To lock a part's row takes the right to update one of its columns.
GRANT INSERT, UPDATE (arrival), DELETE, TRUNCATE ON inbox TO rt_writer;
GRANT INSERT, DELETE, TRUNCATE ON outcomes TO rt_writer;
GRANT EXECUTE ON PROCEDURE drain TO rt_writer;
GRANT EXECUTE ON FUNCTION lock_streams, store_parts, oldest_snapshot TO rt_writer;


-- The fanout reads what it delivers and keeps the receivers' cursors.

GRANT EXECUTE ON FUNCTION identify_device, authenticate_device, events_above TO rt_fanout;
GRANT SELECT (token_id, revoked_at) ON device_tokens TO rt_fanout;
GRANT SELECT ON streams, events, stream_metrics, reader_states, forwarder_ups, reported_readers, reported_ups,
      live_forwarder_sessions, races, epoch_races
    TO rt_fanout;
GRANT SELECT, INSERT, UPDATE (stream_ids, race_id), DELETE ON receiver_sessions TO rt_fanout;
GRANT SELECT, INSERT, UPDATE (cursor_id, last_seq, position, event_count, implied, wanted, updated_at), DELETE
    ON receiver_cursors TO rt_fanout;
GRANT EXECUTE ON FUNCTION ask_for_receiver, ask_once_for_receiver, take_answer, withdraw_requests TO rt_fanout;


-- The api reads everything that operators look at, and writes tokens, names and commands.

GRANT SELECT ON device_tokens, streams, events, stream_metrics, epoch_chips, epoch_names, integrity_conflicts,
      poisoned_parts, forwarder_sessions, forwarder_faults, live_forwarder_sessions, reader_states, forwarder_ups,
      reported_readers, reported_ups, clearing_readers, receiver_sessions,
      live_receiver_sessions, receiver_cursors, receiver_streams, expected_processes, commands, activity,
      answered_alerts, races, participants, chips, forwarder_races, epoch_races, race_points, point_streams, announcer,
      announcer_streams, announcements, passings, passings_progress, race_segments, segment_changes, link_secret,
      event_changes, event_blocks, certificate_keys, memory_parts, memory_numbers
    TO rt_api;
-- Devices show tokens of their own on a few routes.
GRANT EXECUTE ON FUNCTION identify_device, events_above, revoke_token, alias_stream, alias_stream_named, forget_cursors,
      delete_empty_stream, delete_races, unmap_epoch, fill_passings, fill_passings_in_turn, keep_event_blocks,
      zone_ahead_ms, made_at, shown_in_zone
    TO rt_api;
GRANT INSERT (token_hash, device_type, device_id, events_per_second) ON device_tokens TO rt_api;
GRANT INSERT, UPDATE (name, named_at), DELETE ON epoch_names TO rt_api;
GRANT UPDATE (acknowledged_at) ON integrity_conflicts TO rt_api;
-- How much waits there, and since when; not what it is.
GRANT SELECT (received_at) ON inbox TO rt_api;
GRANT SELECT ON waiting_reads TO rt_api;
-- The states of the dashboard are the api's own.
GRANT SELECT, UPDATE (evaluated_at) ON evaluation TO rt_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON troubles, stream_samples, subscriptions TO rt_api;
-- What is expected at points is made by the api, too.
GRANT SELECT, INSERT, UPDATE, DELETE ON point_watches, mat_shares TO rt_api;
-- So is what operators say of them.
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_acknowledgements, alert_mutes, closed_streams TO rt_api;
-- And what people are told of them, with the row whose lock is the turn to do so.
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_notices, noticed_alerts TO rt_api;
GRANT SELECT, UPDATE (taken_at) ON notices_turn TO rt_api;
-- Races are operators' too. Gateways map epochs and receivers' sessions refer to races: no right to lock those two whole.
GRANT INSERT (name, participants_until),
      UPDATE (name, participants_until, roster_changed_at, gun_at, course_changed_at, segments_changed_at)
    ON races TO rt_api;
GRANT INSERT, DELETE ON participants, chips, race_points, point_streams TO rt_api;
GRANT UPDATE (closed_at, closed_by, closes_at) ON race_points TO rt_api;
GRANT INSERT, UPDATE (race_id), DELETE ON forwarder_races TO rt_api;
GRANT INSERT, UPDATE (race_id, mapped_at) ON epoch_races TO rt_api;
GRANT INSERT, DELETE ON race_segments, segment_changes TO rt_api;
-- What is known of readers' clocks is the api's own.
GRANT SELECT, UPDATE (looked_at, tidied_at) ON clocks_turn TO rt_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON forwarder_zones, reader_clocks, reader_clock_marks TO rt_api;
-- So is how far behind receivers were.
GRANT SELECT, UPDATE (looked_at) ON lags_turn TO rt_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON receiver_lags TO rt_api;
-- The announcer is the api's own.
GRANT UPDATE (enabled, enabled_until, max_list_size, run_id, updated_at) ON announcer TO rt_api;
GRANT INSERT, UPDATE (place, stream_epoch, position), DELETE ON announcer_streams TO rt_api;
GRANT INSERT, DELETE ON announcements TO rt_api;
-- What a reader's memory had it leaves for gateways, and takes nothing back.
GRANT INSERT (forwarder_id, reader_ip, stream_epoch, first_seq, lines) ON memory_parts TO rt_api;
GRANT INSERT, UPDATE (next_seq) ON memory_numbers TO rt_api;
-- Links to timelines are signed by api processes, and by nobody else.
GRANT UPDATE (secret, changed_at) ON link_secret TO rt_api;
GRANT INSERT (forwarder_id, session_id, gateway_id, kind, request, expires_at), DELETE ON commands TO rt_api;
-- What receivers ask it answers, and neither asks nor takes away.
GRANT SELECT, UPDATE (state, answer) ON receiver_requests TO rt_api;


-- What was done by policies is done by functions now. A policy keeps who reads all data, as for a dump, from reading.
DROP POLICY IF EXISTS seen_by_all ON processes;
DROP POLICY IF EXISTS written_by_its_role ON processes;
ALTER TABLE processes DISABLE ROW LEVEL SECURITY;

COMMIT;
