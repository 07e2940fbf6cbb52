-- version: 2
--
-- What receivers ask of the operators' API, as a fanout sees it. Requests and answers hold what is configured in the field
-- and names of people, so the fanouts' user reads no row of the table: it asks, takes the answers of a session away, and
-- withdraws what nobody waits for any more. All fanouts are one user, so one of them could do this for another's sessions.

-- What nobody took away, because its fanout died, goes with the next request: nobody waits for it any more.
CREATE OR REPLACE FUNCTION ask_for_receiver(given_session uuid, given_receiver text, given_token uuid, given_address text,
                                            given_kind text, given_body bytea, within_s double precision) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM receiver_requests WHERE expires_at < clock_timestamp() - interval '10 s';
    INSERT INTO receiver_requests (session_id, receiver_id, token_id, address, kind, body, expires_at)
    VALUES (given_session, given_receiver, given_token, given_address, given_kind, given_body,
            clock_timestamp() + make_interval(secs => within_s))
    RETURNING request_id;
END;

-- The same, once: what is put down again under its number, because the first answer was lost on its way, is the same
-- request. An operator's command would be carried out twice otherwise. The one above is that of the release before.
CREATE OR REPLACE FUNCTION ask_once_for_receiver(given_session uuid, given_number bigint, given_receiver text,
                                                 given_token uuid, given_address text, given_kind text,
                                                 given_body bytea, within_s double precision) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM receiver_requests WHERE expires_at < clock_timestamp() - interval '10 s';
    INSERT INTO receiver_requests (session_id, number, receiver_id, token_id, address, kind, body, expires_at)
    VALUES (given_session, given_number, given_receiver, given_token, given_address, given_kind, given_body,
            clock_timestamp() + make_interval(secs => within_s))
    -- Changes nothing, and has the row that is there returned, whatever has become of it meanwhile.
    ON CONFLICT (session_id, number) DO UPDATE SET number = excluded.number
    RETURNING request_id;
END;

-- One at a time: each may have 16 MiB, and waits here until the receiver has taken the one before it.
CREATE OR REPLACE FUNCTION take_answer(given_session uuid) RETURNS TABLE (request_id uuid, answer bytea)
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM receiver_requests AS answered
    WHERE answered.request_id = (SELECT done.request_id FROM receiver_requests AS done
                                 WHERE done.session_id = given_session AND done.state = 'done'
                                 ORDER BY done.request_id LIMIT 1)
    RETURNING answered.request_id, answered.answer;
END;

-- What was not taken yet can never be carried out from here on; what was is carried out, and its answer goes nowhere.
CREATE OR REPLACE FUNCTION withdraw_requests(given_session uuid, given_ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM receiver_requests WHERE session_id = given_session AND request_id = ANY (given_ids);
END;
