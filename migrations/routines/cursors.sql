-- version: 1
--
-- What operators do to receivers' cursors.

-- Has a receiver be sent everything again, of one stream or (null) of all; how many cursors went. With its owner's
-- rights: the right to delete from the table is the right to lock it, which would hold up every fanout's acks.
CREATE OR REPLACE FUNCTION forget_cursors(given_receiver text, given_stream uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH deleted AS (
        DELETE FROM receiver_cursors
        WHERE receiver_id = given_receiver AND (given_stream IS NULL OR stream_id = given_stream)
        RETURNING 1
    )
    SELECT count(*) FROM deleted;
END;
