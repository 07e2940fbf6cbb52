-- All of a stream's cursors, and one receiver's of them, are found by either index: by the stream alone a receiver's was
-- looked for among those of all, where statistics made that look as good as the key.
CREATE INDEX receiver_cursors_of_stream ON receiver_cursors (stream_id, receiver_id, stream_epoch);
DROP INDEX receiver_cursors_stream;
