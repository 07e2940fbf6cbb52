-- What receivers of the second generation want: some epochs of a stream, and not all.
--
-- implied: that a receiver has what the cursor says was only concluded, from a resume of a newer epoch, and not acked. A
-- race must not believe it. Code of the release before moves cursors and leaves the column as it is.
-- wanted: whether the receiver is sent the epoch at all; what it does not want it is not owed (routines/operators.sql).
ALTER TABLE receiver_cursors
    ADD COLUMN implied boolean NOT NULL DEFAULT false,
    ADD COLUMN wanted  boolean NOT NULL DEFAULT true;
