-- What is expected at the points of races, and points that are closed.

-- Nobody is expected at a point any more, whatever its streams read for other races: since somebody has said so, or from
-- a time on (closes_at).
ALTER TABLE race_points
    ADD closed_at timestamptz,
    ADD closed_by text,
    ADD closes_at timestamptz,
    ADD CHECK ((closed_at IS NULL) = (closed_by IS NULL));

-- There are alerts of points now.
ALTER TABLE troubles
    DROP CONSTRAINT troubles_subject_kind_check,
    ADD CONSTRAINT troubles_subject_kind_check
        CHECK (subject_kind IN ('stream', 'forwarder', 'receiver', 'process', 'database', 'point'));

-- What is known of each point where reads may come, made of passings now and then by whichever api process looks. No
-- foreign keys: who deletes a race never waits for it, and what is of nothing goes with the next look.
CREATE TABLE point_watches (
    race_id      uuid        NOT NULL,
    place        integer     NOT NULL,
    looked_at    timestamptz NOT NULL DEFAULT now(),
    made_at      timestamptz NOT NULL DEFAULT now(),
    made_of      text        NOT NULL,            -- what is another when this has to be made anew
    one_in       integer     NOT NULL DEFAULT 1,  -- of so many people one was looked at
    title        text        NOT NULL,
    stream_ids   uuid[]      NOT NULL,
    closed       boolean     NOT NULL,
    from_place   integer,    -- where those who come were last; null: they begin here
    through      integer     NOT NULL DEFAULT 0,  -- how many came from there, as far as is looked
    newest_at    timestamptz,                     -- when the newest read came: the bins begin with it
    usual_gap_s  real        NOT NULL DEFAULT 0,
    due          real[],     -- in bins of ten seconds; null: too little is known
    surely_due   real[],
    due_in_all   real        NOT NULL DEFAULT 0,
    travel_s     real[]      NOT NULL DEFAULT '{}',  -- a quantile each: how long it takes from there
    arrive       real        NOT NULL DEFAULT 0,     -- so many of those who were there come
    PRIMARY KEY (race_id, place)
);

-- Of the chips that came last by a point of several mats: how many of them each mat has seen, and the best of them.
CREATE TABLE mat_shares (
    stream_id uuid        PRIMARY KEY,
    race_id   uuid        NOT NULL,
    place     integer     NOT NULL,
    seen      integer     NOT NULL,
    best      integer     NOT NULL,
    chips     integer     NOT NULL,
    looked_at timestamptz NOT NULL DEFAULT now()
);
