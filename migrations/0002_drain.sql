-- The hot path inside the database: what the drain needs beside its tables (routines/drain.sql).
--
-- applied as well as: 49a5a317b1fadcbbe615e33d61c557f0f8f90356295d988d4b69e728382ae2a4 (the same, with its functions and trigger)

-- A drain looks the inbox through, and what the last ones took is still there, dead: by this index it passes over
-- thousands of dead rows, which the first look marks in it, at hardly any cost.
CREATE INDEX inbox_stream ON inbox (stream_id, arrival);


CREATE TYPE event_identity AS (stream_id uuid, stream_epoch bigint, seq bigint);
CREATE TYPE batch_name AS (forwarder_id text, received_at timestamptz);

-- What one drain did: parts taken and whether others were left, whom to tell, and events by verdict; the first 20
-- conflicts; where they were asked for, the batches.
CREATE TYPE drained AS (
    parts         integer,
    "left"        boolean,
    gateway_ids   uuid[],
    stored        bigint,
    retransmitted bigint,
    conflicting   bigint,
    conflicts     event_identity[],
    batches       batch_name[]
);
