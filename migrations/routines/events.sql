-- version: 3
--
-- What follows when stored events are deleted or changed, which only an administrator does: a drain adds rows and
-- does neither, so it pays nothing for this. One trigger for each kind of statement, which tells all whom it
-- concerns: certificates, by a note of it, and passings, which are made anew.

-- Those of these streams that are there, and stay until the transaction ends; in one order, so that nobody waits for
-- another in a circle. In a function of its own, which sees what was committed while it waited.
CREATE OR REPLACE FUNCTION held_streams(given_streams uuid[]) RETURNS SETOF uuid
LANGUAGE sql
BEGIN ATOMIC
    SELECT streams.stream_id FROM streams WHERE streams.stream_id = ANY(given_streams)
    ORDER BY streams.stream_id
    FOR KEY SHARE;
END;

-- A note for each epoch, of a stream that is there: of events without a stream nobody can ask for a certificate. Who
-- deletes the stream at this moment is waited for, as the note's reference would: behind him there is none, and no note
-- that would have all of the statement refused.
CREATE OR REPLACE FUNCTION events_were_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO event_changes (stream_id, stream_epoch, kind, event_count, first_seq, last_seq)
    SELECT stream_id, stream_epoch, 'deleted', count(*), min(seq), max(seq)
    FROM gone
    WHERE stream_id IN (SELECT * FROM held_streams(ARRAY(SELECT DISTINCT gone.stream_id FROM gone)))
    GROUP BY stream_id, stream_epoch;
    PERFORM forget_passings_of(ARRAY(SELECT DISTINCT stream_id FROM gone));
    RETURN NULL;
END
$$;

-- What was there is compared with what is there now, by number: who sets a column to what it was has changed nothing. An
-- event that was given another number, epoch or stream is noted where it was and where it is.
CREATE OR REPLACE FUNCTION events_were_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO event_changes (stream_id, stream_epoch, kind, event_count, first_seq, last_seq)
    SELECT stream_id, stream_epoch, 'changed', count(*), min(seq), max(seq)
    FROM was FULL JOIN became USING (stream_id, stream_epoch, seq)
    WHERE was IS DISTINCT FROM became
      AND stream_id IN (SELECT * FROM held_streams(ARRAY(SELECT was.stream_id FROM was
                                                         UNION SELECT became.stream_id FROM became)))
    GROUP BY stream_id, stream_epoch;
    PERFORM forget_passings_of(ARRAY(SELECT stream_id FROM was UNION SELECT stream_id FROM became));
    RETURN NULL;
END
$$;

-- Before it is done, while the table is held against everybody: so no event is looked at. What an epoch still has is what
-- was counted of it less what is noted already; what of a stream's positions neither explains was of an epoch that
-- nobody knows (its counts were taken away before), as in 0034_event_changes.sql.
CREATE OR REPLACE FUNCTION events_will_be_emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    WITH noted AS MATERIALIZED (
        SELECT stream_id, stream_epoch, sum(event_count)::bigint AS events FROM event_changes
        WHERE kind = 'deleted'
        GROUP BY stream_id, stream_epoch
    ),
    there AS MATERIALIZED (
        SELECT counted.stream_id, counted.stream_epoch, counted.dedup_count - coalesce(noted.events, 0) AS events,
               counted.first_seq, counted.last_seq
        FROM stream_metrics AS counted
        LEFT JOIN noted USING (stream_id, stream_epoch)
        WHERE counted.dedup_count > coalesce(noted.events, 0)
    ),
    beyond AS (
        SELECT streams.stream_id,
               streams.last_position
                   - coalesce((SELECT sum(events) FROM noted WHERE noted.stream_id = streams.stream_id), 0)::bigint
                   - coalesce((SELECT sum(events) FROM there WHERE there.stream_id = streams.stream_id), 0)::bigint
                   AS events
        FROM streams
    )
    INSERT INTO event_changes (stream_id, stream_epoch, kind, event_count, first_seq, last_seq)
    SELECT stream_id, stream_epoch, 'deleted', events, first_seq, last_seq FROM there
    UNION ALL
    SELECT stream_id, 0, 'deleted', events, NULL, NULL FROM beyond WHERE events > 0;
    DELETE FROM passings_progress;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER events_deleted AFTER DELETE ON events
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION events_were_deleted();

CREATE OR REPLACE TRIGGER events_changed AFTER UPDATE ON events
REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION events_were_changed();

CREATE OR REPLACE TRIGGER events_emptied BEFORE TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION events_will_be_emptied();

DROP FUNCTION IF EXISTS forget_passings();  -- what the triggers called before


-- Keep digests of blocks, for who asks next (api/certificate/). Not while somebody deletes the epoch's counts, with
-- which they go: nobody is waited for, and the lock that keeps the counts there is held for this statement alone.
-- With its owner's rights: to hold that row takes the right to change it.
CREATE OR REPLACE FUNCTION keep_event_blocks(
    given_stream uuid, given_epoch bigint, noted_changes bigint, blocks bigint[], event_counts integer[],
    digests bytea[], late_counts integer[], unparsed_counts integer[], first_positions bigint[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH held AS MATERIALIZED (
        SELECT stream_id, stream_epoch FROM stream_metrics
        WHERE stream_id = given_stream AND stream_epoch = given_epoch
        FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO event_blocks (stream_id, stream_epoch, block, event_count, changes, digest, late_count,
    unparsed_count, first_position)
    SELECT held.stream_id, held.stream_epoch, made.block, made.event_count, noted_changes, made.digest,
    made.late_count, made.unparsed_count, made.first_position
    FROM held
    CROSS JOIN unnest(blocks, event_counts, digests, late_counts, unparsed_counts, first_positions)
        AS made(block, event_count, digest, late_count, unparsed_count, first_position)
    ORDER BY made.block
    ON CONFLICT (stream_id, stream_epoch, block) DO UPDATE
    SET event_count = excluded.event_count, changes = excluded.changes, digest = excluded.digest,
        late_count = excluded.late_count, unparsed_count = excluded.unparsed_count,
        first_position = excluded.first_position;
END;
