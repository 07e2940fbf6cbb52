-- Whose turn it is to make passings: nobody's until the pause is over that follows a look, of whichever api process that
-- was. So all of them together have the share of the machine that one has. waiting: what was left to take after that look.
CREATE TABLE passings_turn (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    rest_until timestamptz NOT NULL DEFAULT '-infinity',
    waiting    bigint      NOT NULL DEFAULT 0
);
INSERT INTO passings_turn DEFAULT VALUES;
