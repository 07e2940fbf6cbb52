"""The tables of a race at each of its ages, with the statistics of that age, and the plans that statements get there.

What a plan hangs on is what the planner was told last: a table that was analyzed when it was empty is huge within the
hour, and one that has about one event a stream makes any index that begins with the stream look as good as the key.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from tests.failure.facts import Database

__all__ = ["AGES", "Plans", "Ways", "complaints", "grow", "laborious", "pages", "planned"]

Plan: TypeAlias = dict[str, Any]
# Of each statement that ran, by its text: all plans that it had.
Plans: TypeAlias = list[tuple[str, Plan]]
# By a statement's beginning, and by its tables: the only ways in, each an index and what must be looked up in it.
Ways: TypeAlias = Mapping[str, Mapping[str, set[str]]]

# How many rows a scan may look at for nothing.
IN_VAIN = 3

# What happens from one age to the next. Statements run on the tables as the last one left them.
_FIRST_READS = """
WITH made AS (
    INSERT INTO streams (forwarder_id, reader_ip, last_position)
    SELECT 'f' || n, 'r', 1 FROM generate_series(1, 20000) AS n RETURNING stream_id
),
stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
    SELECT stream_id, 1, 1, 1, now(), 'line 1', 't', 'raw' FROM made
),
followed AS (
    INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq)
    SELECT 'tent', stream_id, 1, 1 FROM made
)
INSERT INTO stream_metrics (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count,
                            unparsed_count, chip_count, first_seq, last_seq, first_received_at, last_received_at,
                            last_reader_timestamp)
SELECT stream_id, 1, 1, 1, 0, 0, 0, 0, 1, 1, now(), now(), 't' FROM made
"""
# Half a race of one mat, sent by a forwarder that had been away; and all receivers of a city follow it.
_GIANT = """
WITH giant AS (UPDATE streams SET last_position = 60001 WHERE forwarder_id = 'f1' RETURNING stream_id),
counted AS (
    UPDATE stream_metrics SET raw_count = 60001, dedup_count = 60001, last_seq = 60001
    FROM giant WHERE stream_metrics.stream_id = giant.stream_id
),
followed AS (
    INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq)
    SELECT 'r' || n, stream_id, 1, 1 FROM giant, generate_series(1, 2000) AS n
)
INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
SELECT stream_id, 1, n, n, now(), convert_to('line ' || n, 'UTF8'), 't', 'raw'
FROM giant, generate_series(2, 60001) AS n
"""
_DELETE = """
WITH old AS (SELECT stream_id FROM streams WHERE forwarder_id <> 'f1' AND forwarder_id <> 'f'),
gone AS (DELETE FROM stream_metrics USING old WHERE stream_metrics.stream_id = old.stream_id),
away AS (DELETE FROM events USING old WHERE events.stream_id = old.stream_id),
unfollowed AS (DELETE FROM receiver_cursors USING old WHERE receiver_cursors.stream_id = old.stream_id)
DELETE FROM streams USING old WHERE streams.stream_id = old.stream_id
"""

AGES: dict[str, str] = {
    "empty": "",
    "analyzed when empty": "ANALYZE",
    "one event a stream": _FIRST_READS,
    "one event a stream, analyzed": "ANALYZE",
    "one giant stream": _GIANT,
    "one giant stream, analyzed": "ANALYZE",
    "nearly all deleted": _DELETE,
    "nearly all deleted, analyzed": "VACUUM ANALYZE",
}


async def grow(database: Database, *, streams: int = 20_000) -> AsyncIterator[str]:
    """Take the tables from age to age and yield the name of each."""
    for age, change in AGES.items():
        if change:
            await database.execute(change.replace("20000", str(streams)))
        yield age


@asynccontextmanager
async def planned(connection: Database, *, nested: bool = True) -> AsyncIterator[Plans]:
    """Collect the plans of every statement that runs inside, with what it came upon; nested: within functions, too."""
    found: Plans = []

    def keep(_connection: Any, message: Any) -> None:
        text = str(message.message)
        if '"Query Text"' in text:
            explained = json.loads(text[text.index("{") :])
            # The body of an SQL function has no text by now; its context says whose it is.
            found.append((explained["Query Text"].strip() or str(message.context), explained["Plan"]))

    await connection.execute(f"""
        LOAD 'auto_explain';
        SET auto_explain.log_min_duration = 0;
        SET auto_explain.log_nested_statements = {"on" if nested else "off"};
        SET auto_explain.log_analyze = on;
        SET auto_explain.log_timing = off;
        SET auto_explain.log_buffers = on;
        SET auto_explain.log_format = json;
        SET client_min_messages = log;
    """)
    connection.add_log_listener(keep)
    try:
        yield found
        await connection.execute("SET auto_explain.log_min_duration = -1")
        await asyncio.sleep(0)  # a log line is handed on in the next turn of the loop
    finally:
        connection.remove_log_listener(keep)


def _nodes(plan: Plan) -> Iterator[Plan]:
    """Yield a plan's nodes, each before those below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def pages(plans: Plans, begin: str) -> int:
    """Return how many pages the statements touched that begin so."""
    return sum(
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        for text, plan in plans
        if text.startswith(begin)
    )


def laborious(plans: Plans, *, rows: int) -> list[str]:
    """Return the statements of which a step had more rows in its hands than that, those included that it threw away: a
    table that is gone through once for each row of another.
    """
    return [
        f"{_began(text)!r} had {handled:.0f} rows in its hands at a {node['Node Type']}"
        for text, plan in plans
        for handled, node in [
            max(((_handled(node), node) for node in _nodes(plan)), key=lambda each: each[0])
        ]
        if handled > rows
    ]


def _handled(node: Plan) -> float:
    """Return how many rows a step gave on or threw away, in all its rounds."""
    thrown = ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    return float(node["Actual Loops"] * sum(node.get(name, 0) for name in ("Actual Rows", *thrown)))


def _began(text: str) -> str:
    return " ".join(text.split())[:80]


def complaints(plans: Plans, ways: Ways, *, in_vain: int = IN_VAIN) -> list[str]:
    """Return what comes to a table by a way that is not allowed or looks at rows for nothing, and what did not run."""
    missing = [
        f"{begin!r} did not run" for begin in ways if not any(text.startswith(begin) for text, _ in plans)
    ]
    return missing + [
        f"{begin!r} comes to {node['Relation Name']} by {_way_in(node)!r}, {_vain(node)} rows for nothing"
        for begin, allowed in ways.items()
        for text, plan in plans
        if text.startswith(begin)
        for node in _nodes(plan)
        if "Scan" in node["Node Type"] and node.get("Relation Name") in allowed
        if _way_in(node) not in allowed[node["Relation Name"]] or _vain(node) > in_vain
    ]


def _vain(node: Plan) -> int:
    return int(node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))


def _way_in(node: Plan) -> str:
    """Return how a scan finds its rows: its index, and the columns that are looked up in it, in their order."""
    if "Index Name" not in node:
        return str(node["Node Type"])
    condition = str(node.get("Index Cond", ""))
    names = [
        "cursor_id",
        "race_id",
        "receiver_id",
        "forwarder_id",
        "reader_ip",
        "stream_id",
        "stream_epoch",
        "seq",
        "position",
    ]
    columns = [
        name for name in names if re.search(rf'[( ]"?{name}"?[,)]* (=|>|<)|ROW.*"?{name}"?[,)]', condition)
    ]
    return f"{node['Index Name']}: {' '.join(columns)}".strip()
