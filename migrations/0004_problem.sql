-- What is wrong with a process by its own word, for operators; null while nothing is.
ALTER TABLE processes ADD COLUMN problem text;

-- A dead letter is looked up by what it is of: it is kept once, and leaves when its lines are stored after all.
CREATE INDEX poisoned_parts_epoch ON poisoned_parts (stream_id, stream_epoch);
