-- Who came last, and who came by in a minute, of one epoch: a race is given epochs, and beside what is the race's nothing is
-- gone through, however much came by the same mat in the days after it. (passings_time stays for who asks for a stream
-- whatever the epoch, as the plot of its boundaries does.)
CREATE INDEX passings_epoch_time ON passings (stream_id, stream_epoch, first_read_at);
