-- version: 1
--
-- The operators' log is added to by everybody and shortened by nobody's leave.

-- What is kept is said here and not by who calls: a room that could say it could empty the log. The right to delete from
-- the table would also be the right to lock it.
CREATE OR REPLACE FUNCTION trim_activity() RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    DELETE FROM activity WHERE activity_id <= (SELECT max(activity_id) FROM activity) - 10000;
END;
