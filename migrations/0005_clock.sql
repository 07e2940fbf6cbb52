-- What is known of each reader's clock (api/store/samples.py): its wall clock minus ours as it is believed, and what the
-- last look made of the reads since the look before; by which zone's wall clock (null: UTC's). clock_was_ms is written
-- no more; the release before this one still names it.
ALTER TABLE stream_samples
    ADD COLUMN clock_ahead_ms bigint,
    ADD COLUMN clock_step_ms  bigint,
    ADD COLUMN clock_last_ms  bigint,
    ADD COLUMN clock_last_at  timestamptz,
    ADD COLUMN clock_zone     text;
