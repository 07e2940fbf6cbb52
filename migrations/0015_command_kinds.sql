-- Which kinds of commands there are says shared/protocol/commands.py alone: a constraint here would be a second list, which
-- a migration changes under processes of the release before. What a gateway does not know it refuses, and says so.

ALTER TABLE commands
    DROP CONSTRAINT commands_kind_check,
    DROP CONSTRAINT commands_state_check,
    ADD CONSTRAINT commands_state_check CHECK (state IN ('asked', 'taken', 'done', 'absent', 'busy', 'lost', 'refused'));
