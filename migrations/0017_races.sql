-- Races: whose chip a read is, and which epochs of which streams are of which race. All of it is joined when somebody
-- looks; nothing of it stands on an event, so a new import renames everything at once.

-- participants_until: when the people of the race are to be removed; null: when somebody does it. roster_changed_at: when
-- people or chips were last imported or removed, so that all who have them know that they are others.
CREATE TABLE races (
    race_id            uuid        PRIMARY KEY DEFAULT uuidv7(),
    name               text        NOT NULL CHECK (name = btrim(name) AND name <> '' AND length(name) <= 255),
    created_at         timestamptz NOT NULL DEFAULT now(),
    participants_until timestamptz,
    roster_changed_at  timestamptz
);

CREATE TABLE participants (
    race_id     uuid    NOT NULL REFERENCES races ON DELETE CASCADE,
    bib         integer NOT NULL CHECK (bib >= 0),
    first_name  text    NOT NULL,
    last_name   text    NOT NULL,
    affiliation text    CHECK (affiliation <> ''),
    gender      text    NOT NULL CHECK (gender IN ('M', 'F', 'X')),
    PRIMARY KEY (race_id, bib)
);

-- No foreign key to participants: either file may come first. line: its place in the file. is_owner: whose reads of the
-- chip are; where a chip has several bibs, the first in the file. Lower case as tags of reads are: of ASCII letters, about
-- which every database agrees.
CREATE TABLE chips (
    race_id  uuid    NOT NULL REFERENCES races ON DELETE CASCADE,
    chip_id  text    NOT NULL CHECK (chip_id <> '' AND chip_id = lower(chip_id COLLATE "C")),
    bib      integer NOT NULL CHECK (bib >= 0),
    line     integer NOT NULL,
    is_owner boolean NOT NULL,
    PRIMARY KEY (race_id, chip_id, bib)
);
CREATE UNIQUE INDEX chips_owner ON chips (race_id, chip_id) WHERE is_owner;
CREATE INDEX chips_bib ON chips (race_id, bib);

-- The race of a forwarder, known or not: of those of its epochs that have no race of their own.
CREATE TABLE forwarder_races (
    forwarder_id text PRIMARY KEY,
    race_id      uuid NOT NULL REFERENCES races ON DELETE CASCADE
);

-- The race of an epoch, which need not hold an event yet.
CREATE TABLE epoch_races (
    stream_id    uuid        NOT NULL REFERENCES streams ON DELETE CASCADE,
    stream_epoch bigint      NOT NULL CHECK (stream_epoch >= 1),
    race_id      uuid        NOT NULL REFERENCES races ON DELETE CASCADE,
    mapped_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, stream_epoch)
);
CREATE INDEX epoch_races_race ON epoch_races (race_id);

-- The race that a session follows. While it lives the race cannot be deleted (delete_races); what is left of a dead
-- session is no obstacle.
ALTER TABLE receiver_sessions ADD race_id uuid REFERENCES races ON DELETE SET NULL;

-- So that whoever follows a stream sees that the name of any of its epochs is another.
ALTER TABLE epoch_names ADD named_at timestamptz NOT NULL DEFAULT now();
