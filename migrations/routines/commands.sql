-- version: 2
--
-- What operators ask of forwarders, as a gateway sees it. Requests and answers hold what is configured in the field, so
-- the gateways' user reads no row of the table: it takes what is asked of a gateway, once, and says what came of it.
-- All gateways are one user, so one of them could take what is asked of another; what others have taken, and what was
-- answered, it cannot see.

-- What is taken is never taken again: whoever dies with it in hand leaves it without an answer. The clock that set the
-- deadline decides whether it is too late. held: whether the session still has the device.
CREATE OR REPLACE FUNCTION take_commands(given_gateway uuid)
RETURNS TABLE (command_id uuid, session_id uuid, forwarder_id text, kind text, request bytea, asked_at timestamptz,
               left_s double precision, held boolean)
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE commands SET state = 'taken'
    WHERE commands.gateway_id = given_gateway AND commands.state = 'asked' AND commands.expires_at > clock_timestamp()
    RETURNING commands.command_id, commands.session_id, commands.forwarder_id, commands.kind, commands.request,
              commands.asked_at, extract(epoch FROM commands.expires_at - clock_timestamp())::float8,
              EXISTS (SELECT FROM forwarder_sessions AS session
                      WHERE session.forwarder_id = commands.forwarder_id
                        AND session.session_id = commands.session_id AND session.ended_at IS NULL);
END;

-- Who asked may have given up, and taken the row away.
CREATE OR REPLACE FUNCTION end_command(given_id uuid, given_state text, given_answer bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    UPDATE commands SET state = given_state, answer = given_answer
    WHERE command_id = given_id AND state = 'taken' AND given_state IN ('done', 'absent', 'busy', 'lost', 'refused');
END;
