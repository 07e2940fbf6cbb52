"""The first page: receivers, forwarders and processes, and those that are missed."""

from datetime import timedelta
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from tests.api.conftest import Ask
from tests.api.looking import ago, looked
from tests.api.overviews import signals
from tests.api.seeds import (
    Database,
    add_cursor,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)


async def test_flow_says_how_far_behind_in_events_and_in_time(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    started = await ago(database, 29)
    await add_events(database, stream_id, ["x"] * 30, received_at=started)
    await add_metrics(database, stream_id, dedup=30, received_at=started + timedelta(seconds=29))
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    await add_cursor(database, "tent", stream_id, last_seq=20)
    overview = await looked(ask, evaluation)
    (flow,) = overview["flow"]
    # The 21st came 9 s ago.
    assert 9 <= flow.pop("behind_seconds") < 20
    assert flow == {
        "receiver_id": "tent",
        "stream_id": str(stream_id),
        "connected": True,
        "subscribed": True,
        "behind": 10,
        "level": "watch",
        "quiet": None,
    }
    assert signals(overview)["receiver_behind"] == "watch"


async def test_a_receiver_that_is_gone_is_missed_until_its_cursors_are_deleted(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    fanout = await add_process(database, "fanout")
    await add_receiver_session(database, "tent", fanout, [stream_id])
    assert signals(await looked(ask, evaluation)) == {}
    await database.execute("DELETE FROM receiver_sessions")
    overview = await looked(ask, evaluation)
    assert [(each["connected"], each["subscribed"]) for each in overview["flow"]] == [(False, False)]
    await database.execute("UPDATE subscriptions SET gone_since = gone_since - interval '30 seconds'")
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["flow"][0]["level"]) == ({"receiver_gone": "act"}, "act")
    # It has acked nothing yet; what is forgotten is that it is missed.
    await ask("DELETE", "/api/v1/receivers/tent/cursors", status=204)
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["flow"]) == ({}, [])


async def test_a_receiver_that_is_back_is_missed_no_more_and_what_it_left_is_forgotten(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    one, other = await add_stream(database), await add_stream(database, "other")
    fanout = await add_process(database, "fanout")
    await add_receiver_session(database, "tent", fanout, [one, other])
    await looked(ask, evaluation)
    await database.execute("DELETE FROM receiver_sessions")
    await looked(ask, evaluation)
    await add_receiver_session(database, "tent", fanout, [one])
    await looked(ask, evaluation)
    (left,) = await database.fetch("SELECT stream_id, gone_since FROM subscriptions")
    assert tuple(left) == (one, None)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_forwarder_whose_last_token_is_revoked_is_not_waited_for(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID, revoked: bool
) -> None:
    stream_id = await add_stream(database)
    await add_metrics(database, stream_id, dedup=1)
    await add_forwarder_session(database, "start", gateway)
    await database.execute("UPDATE forwarder_sessions SET ended_at = now() - interval '1 minute'")
    await database.execute(
        """
        INSERT INTO device_tokens (token_hash, device_type, device_id, revoked_at)
        VALUES (sha256('a'), 'forwarder', 'start', now()),
               (sha256('b'), 'forwarder', 'start', CASE WHEN $1::boolean THEN now() END)
        """,
        revoked,
    )
    assert signals(await looked(ask, evaluation)).get("forwarder_gone") == (None if revoked else "act")


async def test_a_dead_process_is_missed_until_another_has_its_place(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    died = await ago(database, 60)
    for _ in range(2):
        dead = await add_process(database, "writer", lives=False)
        await database.execute(
            "UPDATE processes SET last_seen_at = $2, started_at = $2 WHERE process_id = $1", dead, died
        )
        died -= timedelta(seconds=1)
    overview = await looked(ask, evaluation)
    assert [each["level"] for each in overview["processes"]] == ["good", "act", "act"]
    for left in (1, 0):
        await add_process(database, "writer")
        overview = await looked(ask, evaluation)
        assert sum(each["level"] == "act" for each in overview["processes"]) == left


@pytest.mark.parametrize(
    ("faults", "level"),
    [
        (["malformed"], "watch"),
        (["dead_letter"], "watch"),
        (["long_line"], "act"),
        (["malformed", "too_many_readers"], "act"),
        (["malformed", "too_many_epochs"], "act"),
        (["of_tomorrow"], "watch"),
    ],
)
async def test_a_forwarder_that_sends_what_is_not_right_is_told_with_the_complaint(
    ask: Ask, database: Database, evaluation: Evaluation, faults: list[str], level: str
) -> None:
    for fault in faults:
        await database.execute(
            "INSERT INTO forwarder_faults (forwarder_id, fault, complaint) VALUES ('start', $1, $2)",
            fault,
            f"complaint of {fault}",
        )
    overview = await looked(ask, evaluation)
    (alert,) = overview["troubles"]
    assert (alert["signal"], alert["subject_id"], alert["level"]) == ("forwarder_fault", "start", level)
    assert alert["reason"].endswith(f"complaint of {faults[-1]}")
    await database.execute("UPDATE forwarder_faults SET last_at = now() - interval '6 minutes'")
    assert "forwarder_fault" not in signals(await looked(ask, evaluation))
