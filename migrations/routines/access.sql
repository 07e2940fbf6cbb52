-- version: 5
--
-- Who may connect.

-- Whom a token stands for. A function with its owner's rights, so that a service can look a token up and cannot list
-- what there is (migrations/roles.sql). last_used_at is for people: one write a minute for a device that reconnects
-- all the time is enough.
CREATE OR REPLACE FUNCTION identify_device(given_hash bytea, wanted_type text)
RETURNS TABLE (token_id uuid, device_id text, events_per_second integer)
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE device_tokens AS used SET last_used_at = now()
    WHERE used.token_hash = given_hash AND used.revoked_at IS NULL AND used.device_type = wanted_type
      AND (used.last_used_at IS NULL OR used.last_used_at < now() - interval '1 minute');
    SELECT known.token_id, known.device_id, known.events_per_second FROM device_tokens AS known
    WHERE known.token_hash = given_hash AND known.revoked_at IS NULL AND known.device_type = wanted_type;
END;

-- The same for processes of the release before, while they are replaced.
CREATE OR REPLACE FUNCTION authenticate_device(given_hash bytea, wanted_type text) RETURNS TABLE (token_id uuid, device_id text)
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT known.token_id, known.device_id FROM identify_device(given_hash, wanted_type) AS known;
END;

-- What is revoked stays revoked: the api may do this, and has no right to change the table. True when it was live.
CREATE OR REPLACE FUNCTION revoke_token(given_id uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH revoked AS (
        UPDATE device_tokens SET revoked_at = now() WHERE token_id = given_id AND revoked_at IS NULL RETURNING 1
    )
    SELECT EXISTS (SELECT FROM revoked);
END;
