-- Kinds of faults are entries in the code (gateway/store/faults.py, api/alerts/rules/forwarder_fault.py). An api process of
-- the release before shows one that it does not know by its complaint.

ALTER TABLE forwarder_faults DROP CONSTRAINT forwarder_faults_fault_check;
