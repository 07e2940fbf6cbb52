-- version: 3
--
-- The operators' log is added to by everybody and shortened by nobody's leave.

-- What is kept is said here and not by who calls: a service that could say it could empty the log. The right to delete
-- from the table would also be the right to lock it.
CREATE OR REPLACE FUNCTION trim_activity() RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    -- Of each kind by itself: a device that makes thousands of entries pushes out no operator's.
    DELETE FROM activity
    WHERE of_device IS NOT TRUE
      AND activity_id <= (SELECT activity_id FROM activity WHERE of_device IS NOT TRUE
                          ORDER BY activity_id DESC OFFSET 5000 LIMIT 1);
    DELETE FROM activity
    WHERE of_device
      AND activity_id <= (SELECT activity_id FROM activity WHERE of_device
                          ORDER BY activity_id DESC OFFSET 5000 LIMIT 1);
END;
