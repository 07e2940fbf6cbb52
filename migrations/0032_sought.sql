-- What of somebody is looked through when a part of a name is sought (api/search): both orders of it, as search writes it,
-- stored, so that nobody puts it together anew for everybody whom he passes over.
ALTER TABLE participants ADD COLUMN sought text NOT NULL
    GENERATED ALWAYS AS (lower(first_name || ' ' || last_name || ' ' || first_name)) STORED;
