"""Alerts that are one fault at one device have one cause, which is kept with each and shown."""

from uuid import UUID

from api.alerts.conditions import Owner
from api.alerts.evaluator import Evaluation
from api.alerts.findings import Facts
from api.alerts.rules.receiver_behind import flows
from api.alerts.stream_facts import streams
from tests.api.answering import opened, silent
from tests.api.conftest import Ask
from tests.api.looking import OVERVIEW, ago, looked
from tests.api.seeds import Database, add_metrics, add_stream
from tests.api.watching import Watch, at, flow, forwarder, many, receiver, stream


def causes(*seen: Facts) -> set[str | None]:
    """Return the causes of all alerts that some facts make, one after the other."""
    found = set()
    for facts in seen:
        watch = Watch()
        watch.look(facts)
        assert watch.states
        found |= {each.cause for each in watch.states}
    return found


def test_eight_silent_readers_of_a_forwarder_have_one_cause_also_where_they_have_become_one_alert() -> None:
    silent = {"last_received_at": at(-60)}
    lost = {"reader_connected": False}
    assert causes(many(8, **silent), many(30, **silent), many(8, **silent, **lost)) == {"reader:forwarder:f"}


def test_a_receiver_that_was_away_and_is_behind_now_has_one_cause_in_all_its_streams() -> None:
    (one,) = flow(1, 40)[flows]
    eight = [one._replace(stream_id=UUID(int=n)) for n in range(8)]
    assert causes(receiver(60), {flows: eight}, flow(500, 60)) == {"receiver:receiver:tent"}


def test_other_faults_and_other_devices_are_other_causes() -> None:
    ((one,),) = stream(missing_count=1).values()
    there: Facts = {streams: [one._replace(owner=Owner("forwarder", "g", "Start box"))]}
    found = causes(forwarder(60), stream(missing_count=1), stream(open_conflicts=1), there)
    assert found == {
        "forwarder:forwarder:f",
        "missing:forwarder:f",
        "conflict:forwarder:f",
        "missing:forwarder:g",
    }


async def test_the_cause_is_kept_and_shown(ask: Ask, evaluation: Evaluation, database: Database) -> None:
    stream_id = await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    assert alert["cause"] == "reader:forwarder:start"
    # The release before knows no cause: until the next look it is the alert's own.
    await database.execute("UPDATE troubles SET cause = NULL")
    (alert,) = opened(await ask("GET", OVERVIEW))
    assert alert["cause"] == f"last_read:stream:{stream_id}"
    (alert,) = opened(await looked(ask, evaluation))
    assert alert["cause"] == "reader:forwarder:start"


async def test_eight_readers_of_a_box_are_one_in_the_verdict_and_another_box_is_another(
    ask: Ask, evaluation: Evaluation, database: Database
) -> None:
    await silent(database, "box")
    for number in range(2, 9):
        stream_id = await add_stream(database, "box", f"10.0.0.{number}:10000")
        await add_metrics(database, stream_id, dedup=7, received_at=await ago(database, 60))
    await silent(database, "other")
    overview = await looked(ask, evaluation)
    assert len(opened(overview)) == 9
    assert (overview["verdict"]["act"], overview["verdict"]["watch"]) == (2, 0)
    (known,) = [each["trouble_id"] for each in opened(overview) if each["cause"] == "reader:forwarder:other"]
    await ask("POST", f"/api/v1/alerts/{known}/acknowledge", json={})
    verdict = (await ask("GET", OVERVIEW))["verdict"]
    assert (verdict["act"], verdict["acknowledged"]) == (1, 1)
