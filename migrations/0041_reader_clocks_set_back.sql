-- What tells a clock that was set back from a slow link (api/clocks/estimate.py). Null, as where the release before has
-- looked: not known.
ALTER TABLE reader_clocks
    ADD COLUMN told_since timestamptz,  -- looks that are not believed yet say the same since
    ADD COLUMN told_back  boolean,      -- their reads show times that were there before
    ADD COLUMN shown_ms   bigint;       -- the newest time that reads of the last look show, by the reader's wall clock
