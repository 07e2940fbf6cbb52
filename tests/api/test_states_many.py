"""Many streams with the same complaint are one alert."""

from uuid import UUID

from api.alerts.coalesce import MANY
from api.alerts.conditions import Key, Owner
from api.alerts.rules.receiver_behind import flows
from api.alerts.stream_facts import streams
from tests.api.watching import NOW, Watch, at, flow, lapse, many

MOST = MANY["forwarder"]


def test_five_thousand_late_streams_of_one_forwarder_are_one_alert() -> None:
    watch = Watch()
    assert watch.look(many(5000, last_received_at=at(-50))) == "act"
    (state,) = watch.states
    assert state.key == Key("last_read", "forwarder", "f")
    assert (state.title, state.since) == ("Finish box", at(-50))
    assert state.reason == "5,000 or more streams, the first: no read for more than 45 s"


def test_each_signal_of_many_streams_is_one_alert_and_few_keep_their_own() -> None:
    watch = Watch()
    watch.look(many(MOST, missing_count=1, unparsed_count=20))
    assert sorted(each.key.signal for each in watch.states) == ["missing", "unparsed"]
    few = Watch()
    few.look(many(MOST - 1, missing_count=1))
    assert len(few.states) == MOST - 1


def test_streams_of_different_forwarders_are_not_taken_together() -> None:
    one = many(MOST - 1, missing_count=1)[streams]
    other = [
        each._replace(
            stream_id=UUID(int=each.stream_id.int + 500), owner=Owner("forwarder", "g", "Start box")
        )
        for each in one
    ]
    watch = Watch()
    watch.look({streams: [*one, *other]})
    assert len(watch.states) == 2 * (MOST - 1)


def test_what_stands_for_many_has_the_age_of_the_first_of_them() -> None:
    watch = Watch()
    watch.look(many(MOST - 1, missing_count=1), seconds=50)
    assert watch.look(many(MOST, missing_count=1), seconds=10) == "watch"
    assert watch.look(many(MOST, missing_count=1)) == "act"
    assert [each.since for each in watch.states] == [NOW]


def test_a_count_that_wavers_around_the_bound_is_one_alert() -> None:
    watch = Watch()
    watch.look(many(MOST, missing_count=1), seconds=60)
    for count in (MOST - 1, MOST + 3, MOST // 2, MOST - 5):
        assert watch.look(many(count, missing_count=1)) == "act"
        assert [each.key.subject_kind for each in watch.states] == ["forwarder"]
    watch.look(many(MOST // 2 - 1, missing_count=1))
    assert sum(each.key.subject_kind == "stream" for each in watch.states) == MOST // 2 - 1


def test_what_stood_for_many_is_left_as_any_other() -> None:
    watch = Watch()
    watch.look(many(MOST, unparsed_count=100))
    assert lapse(watch, many(0), "act") == 10


def test_a_receiver_that_is_behind_in_many_streams_is_one_alert() -> None:
    (one,) = flow(1, 40)[flows]
    eight = [one._replace(stream_id=UUID(int=n), oldest_at=at(-40 - n)) for n in range(8)]
    watch = Watch()
    assert watch.look({flows: eight}) == "act"
    (state,) = watch.states
    assert state.key == Key("receiver_behind", "receiver", "tent")
    assert state.reason == "8 streams, the first, tent ← Finish: behind by more than 30 s"
    assert state.since == at(-47)
    # One that is left is told as the one stream that it is.
    watch.look({flows: eight[:1]})
    assert [each.key.stream_id for each in watch.states] == [eight[0].stream_id]
    assert "streams" not in watch.states[0].reason
