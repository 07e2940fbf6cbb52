-- How far behind each receiver was in time (api/lags/): the worst of each of 360 bins of two minutes, the last of them under
-- way; null where nobody looked. Without a foreign key: a receiver has no row of its own.
CREATE TABLE receiver_lags (
    receiver_id text   PRIMARY KEY,
    bin         bigint NOT NULL,
    seconds     real[] NOT NULL CHECK (cardinality(seconds) = 360)
);
-- One row: whose turn it is to look.
CREATE TABLE lags_turn (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO lags_turn DEFAULT VALUES;
