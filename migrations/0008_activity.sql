-- Entries that devices cause are told from the operators' and the servers' own, so that neither pushes the other out.
-- Null, as the release before this one writes it: own.
ALTER TABLE activity ADD COLUMN of_device boolean;
CREATE INDEX activity_own ON activity (activity_id) WHERE of_device IS NOT TRUE;
CREATE INDEX activity_of_devices ON activity (activity_id) WHERE of_device;
