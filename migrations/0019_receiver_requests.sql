-- What receivers ask of the operators' API through their own sockets: a fanout puts the request here, an api process
-- takes it and writes the answer, the fanout takes it away. Nobody needs any of it after a crash: the session is gone, too.

CREATE UNLOGGED TABLE receiver_requests (
    request_id  uuid        PRIMARY KEY DEFAULT uuidv7(),  -- ours, in the order of asking; the receiver's own stays with its session
    session_id  uuid        NOT NULL,
    receiver_id text        NOT NULL,
    token_id    uuid        NOT NULL,
    address     text        NOT NULL,
    kind        text        NOT NULL,
    -- Up to 16 MiB each. Compressing them would take longer than writing them, and they are gone in a moment.
    body        bytea       STORAGE EXTERNAL NOT NULL,
    answer      bytea       STORAGE EXTERNAL,
    state       text        NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'taken', 'done')),
    expires_at  timestamptz NOT NULL
);
-- What waits to be taken; and what is there of a session.
CREATE INDEX receiver_requests_asked ON receiver_requests (request_id) WHERE state = 'asked';
CREATE INDEX receiver_requests_session ON receiver_requests (session_id);
CREATE INDEX receiver_requests_expired ON receiver_requests (expires_at);
