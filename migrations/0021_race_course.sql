-- The course of a race: its points in the order in which runners come by, each of one or more streams (twin mats), and the
-- time of the gun, since which the race's clock goes.

-- course_changed_at: so that pages which show the course see that it is another.
ALTER TABLE races ADD gun_at timestamptz, ADD course_changed_at timestamptz;

-- place: in course order, from 1 on.
CREATE TABLE race_points (
    race_id uuid    NOT NULL REFERENCES races ON DELETE CASCADE,
    place   integer NOT NULL CHECK (place >= 1),
    name    text    NOT NULL CHECK (name = btrim(name) AND name <> '' AND length(name) <= 255),
    PRIMARY KEY (race_id, place)
);

-- A stream stands at one point of a race.
CREATE TABLE point_streams (
    race_id   uuid    NOT NULL,
    stream_id uuid    NOT NULL REFERENCES streams ON DELETE CASCADE,
    place     integer NOT NULL,
    PRIMARY KEY (race_id, stream_id),
    FOREIGN KEY (race_id, place) REFERENCES race_points ON DELETE CASCADE
);
