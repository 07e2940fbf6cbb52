-- version: 1
--
-- What is done with races that takes more than one statement, or a right that nobody has: who may delete from a table
-- may lock it whole, and fanouts wait for a lock of `races` when a receiver comes.

-- Delete one race, or all of them (null), and what belongs to them; or nothing, while a live session of a receiver
-- follows one of them ('followed'). A session that begins meanwhile refers to the race, so it waits for this row lock
-- and then finds no race; one that began before is seen, because the second statement is younger than the lock.
CREATE OR REPLACE FUNCTION delete_races(given_race uuid) RETURNS text
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    -- In one order: two who delete all at once wait, and never for each other.
    SELECT FROM races WHERE given_race IS NULL OR race_id = given_race ORDER BY race_id FOR UPDATE;
    WITH followed AS MATERIALIZED (
        SELECT FROM live_receiver_sessions JOIN receiver_sessions USING (session_id)
        WHERE receiver_sessions.race_id IS NOT NULL AND (given_race IS NULL OR receiver_sessions.race_id = given_race)
        LIMIT 1
    ),
    deleted AS (
        DELETE FROM races
        WHERE (given_race IS NULL OR race_id = given_race) AND NOT EXISTS (SELECT FROM followed)
        RETURNING 1
    )
    SELECT CASE WHEN EXISTS (SELECT FROM followed) THEN 'followed'
                WHEN EXISTS (SELECT FROM deleted) THEN 'deleted'
                ELSE 'absent' END;
END;

-- Take an epoch out of its race; false: it was in none.
CREATE OR REPLACE FUNCTION unmap_epoch(given_stream uuid, given_epoch bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH unmapped AS (
        DELETE FROM epoch_races WHERE stream_id = given_stream AND stream_epoch = given_epoch RETURNING 1
    )
    SELECT EXISTS (SELECT FROM unmapped);
END;
