-- version: 1
--
-- Views of reads in which what a chip says again within a window is one read.

-- Whether a read begins the next window: it does, once it is as late as the window is wide behind the one that began
-- the last. One without a time is in none. Not in SQL: as a step of an aggregate that would be set up anew for each row, at three times the cost.
CREATE OR REPLACE FUNCTION next_anchor(anchor timestamp, read_at timestamp, width interval) RETURNS timestamp
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN CASE WHEN read_at IS NULL THEN NULL
                WHEN anchor IS NULL OR read_at - anchor >= width THEN read_at
                ELSE anchor END;
END
$$;

-- In the order of reader time over the reads of one chip: when the window began that a read is in. No window function of
-- Postgres' own can say it, because where a window begins depends on where the last one did.
CREATE OR REPLACE AGGREGATE window_anchor(read_at timestamp, width interval) (
    SFUNC = next_anchor, STYPE = timestamp, PARALLEL = SAFE
);
