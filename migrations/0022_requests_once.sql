-- A fanout that does not know whether its database has a request puts it down again, under the same number.

ALTER TABLE receiver_requests ADD COLUMN number bigint;  -- of the request in its session; null from the release before
CREATE UNIQUE INDEX receiver_requests_number ON receiver_requests (session_id, number);
