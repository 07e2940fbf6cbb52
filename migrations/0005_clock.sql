-- What is known of each reader's clock (api/alerts/samples.py): its wall clock minus ours as it is believed, and what the
-- last look made of the reads since the look before; by which zone's wall clock (null: UTC's). clock_was_ms is written
-- no more; the release before this one still names it.
--
-- applied as well as: 6333160f3a1cc54e28ab04524816db00c758e66dfd3d0b06b02e3fa6850e36ef (the same, with other comments)
ALTER TABLE stream_samples
    ADD COLUMN clock_ahead_ms bigint,
    ADD COLUMN clock_step_ms  bigint,
    ADD COLUMN clock_last_ms  bigint,
    ADD COLUMN clock_last_at  timestamptz,
    ADD COLUMN clock_zone     text;
