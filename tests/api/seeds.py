"""Rows as the other services leave them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg

from shared.protocol.ipico import annotate

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

START = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def add_stream(
    database: Database, forwarder_id: str = "start", reader_ip: str = "10.0.0.1:10000", *, epoch: int = 1
) -> UUID:
    """Add a stream and return its id."""
    stream_id: UUID = await database.fetchval(
        "INSERT INTO streams (forwarder_id, reader_ip, stream_epoch) VALUES ($1, $2, $3) RETURNING stream_id",
        forwarder_id,
        reader_ip,
        epoch,
    )
    return stream_id


async def add_race(database: Database, name: str = "10 km") -> UUID:
    """Add a race and return its id."""
    race_id: UUID = await database.fetchval("INSERT INTO races (name) VALUES ($1) RETURNING race_id", name)
    return race_id


async def add_events(
    database: Database,
    stream_id: UUID,
    lines: Sequence[str | bytes],
    *,
    epoch: int = 1,
    first_seq: int = 1,
    received_at: datetime = START,
    step: timedelta = SECOND,
    reader_timestamp: str = "2026-05-03T10:00:00.000",
    read_type: str = "raw",
    framed: bool = False,
) -> None:
    """Add an event for each line or frame, numbered on from `first_seq`, received `step` apart."""
    # Both at once, as a drain does: whoever reads behind it finds no position without its event.
    async with database.transaction():
        last = await database.fetchval(
            "UPDATE streams SET last_position = last_position + $2 WHERE stream_id = $1 RETURNING last_position",
            stream_id,
            len(lines),
        )
        rows: list[tuple[object, ...]] = []
        for n, line in enumerate(lines):
            frame = line if isinstance(line, bytes) else line.encode()
            tag_id, read_at, error = annotate(frame.decode(errors="replace"))
            key = (stream_id, epoch, first_seq + n, last - len(lines) + 1 + n)
            rows.append(
                (
                    *key,
                    received_at + n * step,
                    read_at,
                    frame,
                    reader_timestamp,
                    read_type,
                    tag_id,
                    error,
                    framed,
                )
            )
        await database.copy_records_to_table("events", records=rows)


async def add_metrics(
    database: Database,
    stream_id: UUID,
    *,
    epoch: int = 1,
    dedup: int,
    retransmit: int = 0,
    conflict: int = 0,
    unparsed: int = 0,
    chips: int = 0,
    last_seq: int | None = None,
    missing: Sequence[tuple[int, int]] = (),
    received_at: datetime = START,
    last_tag_id: str | None = None,
) -> None:
    """Add the numbers of an epoch; `missing` are ranges with both ends included."""
    await database.execute(
        """
        INSERT INTO stream_metrics VALUES
            ($1, $2, $3::bigint + $4::bigint + $5::bigint, $3, $4, $5, $6, $7, 1, $8, $9, $9, $10,
             '2026-05-03T10:00:00.000', $11)
        """,
        stream_id,
        epoch,
        dedup,
        retransmit,
        conflict,
        unparsed,
        chips,
        dedup if last_seq is None else last_seq,
        received_at,
        last_tag_id,
        [asyncpg.Range(first, last + 1) for first, last in missing],
    )


async def add_process(database: Database, role: str, *, lives: bool = True) -> UUID:
    """Add a process that lives by its lease and is seen for as long as a test takes, or whose lease is over."""
    process_id = uuid4()
    await database.execute(
        """
        INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, ready, last_seen_at,
                               lease_expires_at)
        VALUES ($1, $2, 'here', 1, '127.0.0.1:1', '0', false, true, greatest(now(), now() + $3), now() + $3)
        """,
        process_id,
        role,
        timedelta(hours=1 if lives else -1),
    )
    return process_id


async def add_forwarder_session(
    database: Database, forwarder_id: str, gateway_id: UUID, *, display_name: str | None = None
) -> UUID:
    """Add a session that lasts as long as its gateway lives, and return its id."""
    session_id: UUID = await database.fetchval(
        """
        INSERT INTO forwarder_sessions (forwarder_id, session_id, fence, gateway_id, token_id, display_name)
        VALUES ($1, gen_random_uuid(), nextval('session_fence'), $2, gen_random_uuid(), $3)
        RETURNING session_id
        """,
        forwarder_id,
        gateway_id,
        display_name,
    )
    return session_id


async def add_reader_state(
    database: Database,
    forwarder_id: str,
    reader_ip: str,
    session_id: UUID,
    *,
    connected: bool | None = True,
    state: str | None = None,
    info: object = None,
    download: object = None,
) -> None:
    """Have a session tell of a reader, in place of what was told of it before."""
    await database.execute(
        """
        INSERT INTO reader_states (forwarder_id, reader_ip, session_id, connected, state, reader_info, info_at,
                                   download, version)
        VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6::jsonb IS NOT NULL THEN now() END, $7, nextval('device_version'))
        ON CONFLICT (forwarder_id, reader_ip) DO UPDATE
        SET session_id = excluded.session_id, connected = excluded.connected, state = excluded.state,
            reader_info = excluded.reader_info, info_at = excluded.info_at, download = excluded.download,
            changed_at = now(), version = excluded.version
        """,
        forwarder_id,
        reader_ip,
        session_id,
        connected,
        state,
        None if info is None else json.dumps(info),
        None if download is None else json.dumps(download),
    )


async def add_ups(
    database: Database, forwarder_id: str, session_id: UUID, *, available: bool = True, status: object = None
) -> None:
    """Have a session tell of its forwarder's battery, in place of what was told of it before."""
    await database.execute(
        """
        INSERT INTO forwarder_ups (forwarder_id, session_id, available, status, version)
        VALUES ($1, $2, $3, $4, nextval('device_version'))
        ON CONFLICT (forwarder_id) DO UPDATE
        SET session_id = excluded.session_id, available = excluded.available, status = excluded.status,
            received_at = now(), version = excluded.version
        """,
        forwarder_id,
        session_id,
        available,
        None if status is None else json.dumps(status),
    )


async def add_receiver_session(
    database: Database, receiver_id: str, fanout_id: UUID, stream_ids: Sequence[UUID]
) -> UUID:
    """Add a session that is subscribed to streams."""
    session_id = uuid4()
    await database.execute(
        """
        INSERT INTO receiver_sessions (session_id, receiver_id, fanout_id, token_id, stream_ids)
        VALUES ($1, $2, $3, gen_random_uuid(), $4)
        """,
        session_id,
        receiver_id,
        fanout_id,
        list(stream_ids),
    )
    return session_id


async def add_cursor(
    database: Database, receiver_id: str, stream_id: UUID, *, epoch: int = 1, last_seq: int
) -> None:
    """Add what a receiver has acked."""
    await database.execute(
        "INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq) VALUES ($1, $2, $3, $4)",
        receiver_id,
        stream_id,
        epoch,
        last_seq,
    )
