-- version: 2
--
-- How many readers a forwarder has.

-- Those that count towards the bound: with a read in the last seven days, or made since. Addresses change over the
-- years, and what is not used any more keeps nobody out; what a reader's memory had is no reader more. With its owner's
-- rights: a gateway sees nothing of what is stored.
CREATE OR REPLACE FUNCTION readers_in_use(of_forwarder text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT count(*) FROM streams
    WHERE streams.forwarder_id = of_forwarder AND NOT is_memory(streams.reader_ip)
      AND (streams.created_at > now() - interval '7 days'
           OR EXISTS (SELECT FROM stream_metrics AS epoch
                      WHERE epoch.stream_id = streams.stream_id
                        AND epoch.last_received_at > now() - interval '7 days'));
END;
