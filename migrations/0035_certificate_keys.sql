-- What certificates are signed with (api/certificate/): of the cluster, so that whichever api process signs, it is the same
-- key. It travels in backups.

-- The key that signs has its secret here (a seed of Ed25519), and only it: of one that was retired the public half is kept,
-- so that what it has signed can still be looked at, and nobody can steal it any more. The secret is made here, once and
-- whoever starts, so it is in no statement that could be logged: gen_random_uuid() takes the system's strong random
-- numbers, 122 bits each.
CREATE TABLE certificate_keys (
    key_id     bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    secret     bytea       CHECK (octet_length(secret) = 32)
        DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    public_key bytea       CHECK (octet_length(public_key) = 32),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz,
    CHECK ((secret IS NULL) = (retired_at IS NOT NULL)),
    CHECK ((public_key IS NULL) = (retired_at IS NULL))
);
-- One signs.
CREATE UNIQUE INDEX certificate_keys_signs ON certificate_keys ((true)) WHERE retired_at IS NULL;
INSERT INTO certificate_keys DEFAULT VALUES;
