-- What people are told of alerts (api/notices/). No foreign keys: alerts are forgotten, and what was told of them is not.

-- A notice: one message to all addresses of ALERT_URLS. due -> taken -> sent, or due again; given_up after an hour,
-- dropped where it had nothing to tell any more before it went. What is taken belongs to one process; where that is not
-- alive any more, or its time is over, another takes it again: unsure, for somebody may have it already.
CREATE TABLE alert_notices (
    notice_id bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind      text        NOT NULL CHECK (kind IN ('red', 'over')),
    state     text        NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'taken', 'sent', 'given_up', 'dropped')),
    made_at   timestamptz NOT NULL DEFAULT now(),
    due_at    timestamptz NOT NULL DEFAULT now(),
    taken_at  timestamptz,
    taken_by  uuid,
    unsure    boolean     NOT NULL DEFAULT false,
    tries     integer     NOT NULL DEFAULT 0,
    -- As it was sent last. Before that it is made anew at each try.
    causes    text[]      NOT NULL DEFAULT '{}',
    title     text,
    body      text,
    -- Who has it, by the names of the addresses: the addresses are secrets, and in no table.
    reached   text[]      NOT NULL DEFAULT '{}',
    told_at   timestamptz,
    problem   text,
    ended_at  timestamptz
);
-- What is looked at every second has a handful of rows, whatever was sent.
CREATE INDEX alert_notices_open ON alert_notices (notice_id) WHERE ended_at IS NULL;
CREATE INDEX alert_notices_told ON alert_notices (told_at) WHERE told_at IS NOT NULL;

-- An alert of which something is to be told, or was, until that it is over is told, too. The words are those of the
-- time when it was noticed: by then it may be forgotten.
CREATE TABLE noticed_alerts (
    alert_id bigint      PRIMARY KEY,
    cause    text        NOT NULL,
    title    text        NOT NULL,
    reason   text        NOT NULL,
    advice   text        NOT NULL,
    since    timestamptz NOT NULL,
    red_at   timestamptz NOT NULL DEFAULT now(),
    red_id   bigint,
    over_at  timestamptz,
    over_id  bigint
);

-- One row: its lock is what planning and taking take turns by.
CREATE TABLE notices_turn (
    only_row boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    taken_at timestamptz
);
INSERT INTO notices_turn DEFAULT VALUES;
