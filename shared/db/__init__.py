"""Postgres: connections, errors, migrations, and the notifications that go through it."""
