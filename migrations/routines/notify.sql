-- version: 1
--
-- What rings inside the database.

-- Staging waits for no flush: the inbox is unlogged. Where a listener that never reads has jammed the notification
-- queue a bell would fail the very transaction that it is to tell of: then none rings, and everyone lives by the polls.
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
