"""Readers that are unplugged, and batteries: what is amber, what is red, and what is neither."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.alerts.conditions import Level
from api.alerts.engine import advance
from api.alerts.evaluator import Evaluation
from api.alerts.findings import Facts, find
from api.alerts.rules.ups import UpsFacts, batteries
from tests.api.conftest import Ask
from tests.api.looking import looked
from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_process,
    add_reader_state,
    add_stream,
    add_ups,
)
from tests.api.watching import NOW, at, stream

READER = "10.0.0.1:10000"


def battery(**facts: Any) -> Facts:
    """A battery that is well, but for what is given."""
    well = UpsFacts("f", "Finish", available=True, plugged=True, percent=100)
    return {batteries: [well._replace(**facts)]}


def said(facts: Facts, *, after_s: float = 0) -> dict[str, Level]:
    """Return the levels of what is open, by signal, when these facts have held for so long."""
    states = advance([], find(facts, []), at(-after_s))
    return {each.key.signal: each.level for each in advance(states, find(facts, states), NOW) or states}


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({}, None),
        ({"percent": 40}, None),
        ({"percent": 39}, "watch"),
        # Plugged, it is filled; that it is nearly empty is no reason to run.
        ({"percent": 1}, "watch"),
        ({"plugged": False}, "watch"),
        ({"plugged": False, "percent": 15}, "watch"),
        ({"plugged": False, "percent": 14}, "act"),
        ({"available": False}, None),
        ({"available": False, "percent": 5}, None),
        ({"available": False, "plugged": False, "percent": 90}, "act"),
        # It was never asked.
        ({"available": False, "plugged": None, "percent": None}, None),
        # Nobody waits for a box that is taken down.
        ({"plugged": False, "percent": 1, "closed": True}, None),
        ({"available": False, "plugged": False, "closed": True}, None),
    ],
)
def test_a_battery_is_amber_or_red_by_its_bounds(facts: dict[str, Any], level: Level | None) -> None:
    assert said(battery(**facts)).get("ups") == level


def test_a_reason_says_no_number_that_is_another_every_minute() -> None:
    reasons = {
        condition.reason
        for percent in range(101)
        for finding in find(battery(plugged=False, percent=percent), [])
        for condition in finding.conditions
    }
    assert len(reasons) == 3


@pytest.mark.parametrize(
    ("facts", "after_s", "level"),
    [
        ({"reader_connected": False}, 4.9, "good"),
        ({"reader_connected": False}, 5, "watch"),
        ({"reader_connected": False}, 86400, "watch"),
        # Its forwarder is gone: that is what is wrong with it.
        ({"reader_connected": False, "online": False}, 60, None),
        ({"reader_connected": False, "closed": True}, 60, None),
        ({}, 60, None),
    ],
)
def test_a_reader_that_is_unplugged_while_its_forwarder_is_online_is_amber(
    facts: dict[str, Any], after_s: float, level: Level | None
) -> None:
    assert said(stream(**facts), after_s=after_s).get("reader_gone") == level


# --- of rows ----------------------------------------------------------------------------------------------


@pytest.fixture
async def session_id(database: Database) -> UUID:
    """The live session of forwarder `start`, which has one stream."""
    await add_stream(database, "start", READER)
    return await add_forwarder_session(database, "start", await add_process(database, "gateway"))


def open_alerts(overview: Any) -> dict[str, tuple[str, str]]:
    return {
        each["signal"]: (each["level"], each["reason"])
        for each in overview["troubles"]
        if each["ended_at"] is None
    }


async def last(database: Database, seconds: float) -> None:
    """Have what was noticed be so for longer."""
    await database.execute(
        "UPDATE troubles SET noticed_at = noticed_at - $1::interval", timedelta(seconds=seconds)
    )


async def test_an_unplugged_reader_is_told_until_it_is_back(
    ask: Ask, database: Database, evaluation: Evaluation, session_id: UUID
) -> None:
    await add_reader_state(database, "start", READER, session_id, connected=False)
    assert "reader_gone" not in open_alerts(await looked(ask, evaluation))
    await last(database, 5)
    overview = await looked(ask, evaluation)
    level, reason = open_alerts(overview)["reader_gone"]
    assert (level, reason.split()[0]) == ("watch", "reader")
    assert (overview["streams"][0]["online"], overview["streams"][0]["reader_connected"]) == (True, False)
    await add_reader_state(database, "start", READER, session_id, connected=True)
    overview = await looked(ask, evaluation)
    (alert,) = [each for each in overview["troubles"] if each["signal"] == "reader_gone"]
    assert alert["quiet"] == "clearing"
    assert overview["streams"][0]["reader_connected"] is True


async def test_an_older_forwarder_that_says_nothing_of_its_reader_is_well(
    ask: Ask, database: Database, evaluation: Evaluation, session_id: UUID
) -> None:
    await add_reader_state(database, "start", READER, uuid4(), connected=False)
    # It has had the time to tell.
    await database.execute("UPDATE forwarder_sessions SET connected_at = now() - interval '3 seconds'")
    await looked(ask, evaluation)
    await last(database, 60)
    overview = await looked(ask, evaluation)
    assert "reader_gone" not in open_alerts(overview)
    assert overview["streams"][0]["reader_connected"] is True


async def test_a_battery_that_loses_its_power_is_told_of_its_forwarder(
    ask: Ask, database: Database, evaluation: Evaluation, session_id: UUID
) -> None:
    for percent, plugged, level in ((80, True, None), (80, False, "watch"), (10, False, "act")):
        status = {"battery_percent": percent, "power_plugged": plugged}
        await add_ups(database, "start", session_id, status=status)
        found = open_alerts(await looked(ask, evaluation))
        assert found.get("ups", (None,))[0] == level
    # The link goes with the power: it is told all the same, and is not taken for well.
    await database.execute("UPDATE forwarder_sessions SET ended_at = now()")
    level, reason = open_alerts(await looked(ask, evaluation))["ups"]
    assert (level, "was on battery" in reason) == ("act", True)
