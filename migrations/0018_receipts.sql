-- What a writer tells a gateway of a committed part, and nobody else can know before: a random number that the gateway
-- draws (routines/drain.sql). Null: of a gateway of the release before, which looks for its outcomes.
ALTER TABLE inbox ADD receipt bigint;
