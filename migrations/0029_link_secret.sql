-- What links to the timeline of one person are signed with (api/links/): of the cluster, so that every api process takes
-- what another has made. Links themselves are kept nowhere; another secret makes all that there are invalid, at once.

-- One row. The secret is made here and again here when it is replaced, so it is in no statement that could be logged:
-- gen_random_uuid() takes the system's strong random numbers, 122 bits each.
CREATE TABLE link_secret (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    secret     bytea       NOT NULL CHECK (octet_length(secret) >= 32)
        DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO link_secret DEFAULT VALUES;
