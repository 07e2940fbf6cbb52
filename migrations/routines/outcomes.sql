-- version: 1
--
-- What became of parts, as a gateway learns of it.

-- Takes away what the writers have said of a gateway's parts since the last time, beside the inbox's generation, in one
-- snapshot: a crash between the two would make an answer of neither. No rows at all: nobody has made a generation yet.
-- A function with its owner's rights, because the right to delete from `outcomes` is the right to lock it, which would
-- hold up every writer.
CREATE OR REPLACE FUNCTION collect_outcomes(given_gateway uuid)
RETURNS TABLE (generation uuid, outcome text, part_ids bigint[])
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH taken AS (
        DELETE FROM outcomes WHERE outcomes.gateway_id = given_gateway RETURNING outcomes.outcome, outcomes.part_ids
    )
    SELECT inbox_generation.generation, taken.outcome, taken.part_ids FROM inbox_generation LEFT JOIN taken ON true;
END;
