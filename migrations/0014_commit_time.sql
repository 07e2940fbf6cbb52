-- How long a writer's commits take at the moment, for whoever looks: on the disk, and at standbys that must have them.

ALTER TABLE processes ADD COLUMN commit_ms real;
