-- Which filling of a stream its passings are of. Whoever remembers how far a stream was filled must know that it was
-- filled anew even if that is over before he looks again, and a position cannot tell: it is as high as before, or higher.
-- The rows are few, and are written when a stream is new or filled anew.
ALTER TABLE passings_progress ADD COLUMN generation uuid NOT NULL DEFAULT gen_random_uuid();
