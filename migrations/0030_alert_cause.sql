-- What an alert has in common with others (api/alerts/cause.py). Null in rows of the release before, until it is looked
-- at again by one that knows it.
ALTER TABLE troubles ADD COLUMN cause text;
