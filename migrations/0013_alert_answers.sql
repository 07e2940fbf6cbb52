-- What operators say of alerts (rows of `troubles`), and which streams nobody waits for. No foreign keys: an
-- administrator who deletes a stream never waits for these, nor they for him; what has lost its subject is removed at
-- the next look (api/alerts/evaluator.py).
--
-- applied as well as: a5c509dd2b5374c545e42fb6a4edfac105406da84901ea053f42f5a945fce0b6 (the same, with other comments)

-- Of one alert: somebody knows of it, at the level that it had then. The next one has another id, and is new.
CREATE TABLE alert_acknowledgements (
    alert_id        bigint      PRIMARY KEY,
    level           text        NOT NULL CHECK (level IN ('watch', 'act')),
    reason          text,
    acknowledged_by text        NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT now()
);

-- Of one condition of one subject: it does not count until then, over its endings. alert_id: of which it was said.
CREATE TABLE alert_mutes (
    alert_id     bigint      NOT NULL,
    signal       text        NOT NULL,
    subject_kind text        NOT NULL,
    subject_id   text        NOT NULL,
    stream_id    uuid,
    title        text        NOT NULL,
    reason       text        NOT NULL,
    muted_by     text        NOT NULL,
    muted_at     timestamptz NOT NULL DEFAULT now(),
    muted_until  timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (signal, subject_kind, subject_id, stream_id)
);

-- A stream of which nobody expects a read. position: its last one then, so that what comes all the same is counted;
-- read_noted: whether the log says so.
CREATE TABLE closed_streams (
    stream_id  uuid        PRIMARY KEY,
    position   bigint      NOT NULL,
    closed_by  text        NOT NULL,
    closed_at  timestamptz NOT NULL DEFAULT now(),
    read_noted boolean     NOT NULL DEFAULT false
);

-- The longest of the gaps of which gap_s is the median.
ALTER TABLE stream_samples ADD COLUMN longest_gap_s real;
