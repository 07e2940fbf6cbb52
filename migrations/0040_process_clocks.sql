-- How far a process's machine's clock is ahead of the database's, as it has measured with its last signs of life, and whether
-- somebody keeps it, of whom that is asked and known.
ALTER TABLE processes
    ADD COLUMN clock_ahead_ms real,
    ADD COLUMN clock_kept     boolean;
