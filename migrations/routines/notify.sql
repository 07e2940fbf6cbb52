-- version: 3
--
-- Notifications that are sent inside the database.

-- Staging waits for no flush: the inbox is unlogged. Where a listener that never reads has jammed the notification
-- queue a notification would fail the very transaction that it is to tell of: then none is sent, and everyone lives by
-- the polls.
CREATE OR REPLACE FUNCTION ring_unless_jammed(channel text, payload text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify(channel, payload);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION ring_inbox() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ring_unless_jammed('rt_inbox');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER inbox_rings AFTER INSERT ON inbox FOR EACH STATEMENT EXECUTE FUNCTION ring_inbox();

-- Whoever deletes cursors, by route or by hand, tells the fanouts: a receiver that is connected gets everything again
-- at once. The payload names the rows where they are few; empty it means any. With built-in functions only, because an
-- administrator's user need not be able to call ours.
CREATE OR REPLACE FUNCTION notify_deleted_cursors() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    named text := (SELECT string_agg(cursor_id::text, ',') FROM deleted);
BEGIN
    IF named IS NOT NULL AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('rt_cursors', CASE WHEN length(named) < 7900 THEN named ELSE '' END);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER cursors_deleted AFTER DELETE ON receiver_cursors
REFERENCING OLD TABLE AS deleted
FOR EACH STATEMENT EXECUTE FUNCTION notify_deleted_cursors();
