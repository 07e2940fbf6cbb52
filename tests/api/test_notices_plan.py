"""What is told of alerts, and what not any more, as it is decided: without a database, a clock or anybody to tell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.notices.planning import PAUSE, Alert, Facts, Kind, Noticed, Plan, Sent, plan

BEGAN = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)


@dataclass
class House:
    """The rows as the store keeps them, and a world that takes notices or does not."""

    now: datetime = BEGAN
    alerts: dict[int, Alert] = field(default_factory=dict)
    noticed: dict[int, Noticed] = field(default_factory=dict)
    notices: dict[int, Sent] = field(default_factory=dict)
    kinds: dict[int, Kind] = field(default_factory=dict)
    told_at: dict[int, datetime] = field(default_factory=dict)
    causes: dict[int, set[str]] = field(default_factory=dict)
    told: list[tuple[datetime, Kind, frozenset[int], frozenset[str]]] = field(default_factory=list)
    takes: bool = True

    def red(self, alert_id: int, cause: str = "reader:forwarder:f", **more: bool) -> None:
        self.alerts[alert_id] = Alert(alert_id, cause, **{"counts": True, **more})

    def over(self, *alert_ids: int) -> None:
        for each in alert_ids:
            del self.alerts[each]

    def facts(self) -> Facts:
        def current(sent: Sent | None) -> Sent | None:
            return None if sent is None else self.notices[sent.notice_id]

        noticed = [
            each._replace(red=current(each.red), over=current(each.over)) for each in self.noticed.values()
        ]
        recent = {
            cause for each, at in self.told_at.items() if at > self.now - PAUSE for cause in self.causes[each]
        } | {
            cause
            for each, sent in self.notices.items()
            if sent.state == "taken"
            for cause in self.causes.get(each, ())
        }
        return Facts(self.now, list(self.alerts.values()), noticed, frozenset(recent))

    def look(self, seconds: float = 0, *, sends: bool = True) -> Plan:
        """Let time pass, look, and send what is due."""
        self.now += timedelta(seconds=seconds)
        done = plan(self.facts())
        self._write(done)
        assert not plan(self.facts()), "what was planned is planned again"
        if sends:
            for each, sent in list(self.notices.items()):
                if sent.state == "due" and self.takes:
                    self.take(each)
                    self.send(each)
        return done

    def _write(self, done: Plan) -> None:
        for alert in done.new:
            self.noticed[alert.alert_id] = Noticed(alert.alert_id, alert.cause, self.now)
        for each in done.forget:
            del self.noticed[each]
        self._set(done.wait, red=None)
        self._set(done.over, over_at=self.now)
        self._set(done.back, over_at=None)
        self._set(done.leave, over=None)
        for each, notice_id in done.join.items():
            self._set([each], red=self.notices[notice_id])
        for kind, alerts in (("red", done.red), ("over", done.ended)):
            if alerts:
                made = Sent(len(self.kinds) + 1, "due")
                self.notices[made.notice_id] = made
                self.kinds[made.notice_id] = "red" if kind == "red" else "over"
                self._set(alerts, **{kind: made})
        for each, sent in self.notices.items():
            if not sent.settled and not self.members(each):
                self.notices[each] = sent._replace(state="dropped")

    def _set(self, alert_ids: Sequence[int], **fields: object) -> None:
        for each in alert_ids:
            self.noticed[each] = self.noticed[each]._replace(**fields)  # type: ignore[arg-type]

    def members(self, notice_id: int) -> list[Noticed]:
        which = "red" if self.kinds[notice_id] == "red" else "over"
        return [
            each
            for each in self.noticed.values()
            if (sent := getattr(each, which)) is not None and sent.notice_id == notice_id
        ]

    def take(self, notice_id: int) -> None:
        self.notices[notice_id] = self.notices[notice_id]._replace(state="taken")
        self.causes[notice_id] = {each.cause for each in self.members(notice_id)}

    def send(self, notice_id: int) -> None:
        members = self.members(notice_id)
        self.told.append(
            (
                self.now,
                self.kinds[notice_id],
                frozenset(each.alert_id for each in members),
                frozenset(each.cause for each in members),
            )
        )
        for former, sent in self.notices.items():
            if sent.state == "given_up":
                self.notices[former] = sent._replace(outlived=True)
        self.notices[notice_id] = self.notices[notice_id]._replace(state="sent", reached=True)
        self.told_at[notice_id] = self.now
        if self.kinds[notice_id] == "over":
            for each in members:
                del self.noticed[each.alert_id]

    def give_up(self) -> None:
        for each, sent in self.notices.items():
            if sent.state == "due":
                self.notices[each] = sent._replace(state="given_up")

    def said(self) -> list[tuple[Kind, set[int]]]:
        return [(kind, set(alerts)) for _, kind, alerts, _ in self.told]


def test_eight_readers_of_a_forwarder_are_one_notice_when_they_turn_red_and_one_when_all_are_over() -> None:
    house = House()
    for each in range(8):
        house.red(each)
        house.look(0.5)
    assert house.said() == []
    house.look(5)
    assert house.said() == [("red", set(range(8)))]
    house.over(*range(7))
    house.look(120)
    assert len(house.said()) == 1
    house.over(7)
    house.look(1)
    assert house.said()[1:] == [("over", set(range(8)))]
    assert house.noticed == {}


def test_a_receiver_that_reconnects_is_one_notice_though_it_is_behind_for_a_moment() -> None:
    house = House()
    house.red(1, "receiver:receiver:tent")
    house.look()
    house.look(5)
    # It is back, which is shown for a minute; what came meanwhile is older than what makes its stream red.
    house.red(1, "receiver:receiver:tent", counts=False, eased=True)
    house.red(2, "receiver:receiver:tent")
    house.look(60)
    house.red(2, "receiver:receiver:tent", counts=False, eased=True)
    house.look(3)
    house.over(1, 2)
    house.look(60)
    assert house.said() == [("red", {1}), ("over", {1})]


def test_what_hovers_is_told_when_it_is_worse_again_and_once() -> None:
    house = House()
    for _ in range(30):
        house.red(1)
        house.look(2)
        house.red(1, counts=False, eased=True)
        house.look(2)
    assert house.said() == [("red", {1})]
    # It waited from the first time on.
    assert house.told[0][0] <= BEGAN + timedelta(seconds=12)
    house.over(1)
    house.look(61)
    assert house.said() == [("red", {1}), ("over", {1})]


def test_what_has_eased_while_its_notice_waits_leaves_that_until_it_is_worse_again() -> None:
    house = House(takes=False)
    house.red(1)
    house.red(2)
    house.look()
    house.look(5)
    house.red(1, counts=False, eased=True)
    house.look(1)
    house.takes = True
    house.look(1)
    house.red(1)
    house.look(61)
    assert house.said() == [("red", {2}), ("red", {1})]


def test_what_is_over_before_its_notice_went_is_not_told() -> None:
    house = House()
    house.red(1)
    house.look()
    house.over(1)
    house.look(5)
    house.look(60)
    assert house.said() == []
    assert house.noticed == {}


def test_what_waits_for_a_dead_network_leaves_its_notice_when_it_is_over_and_the_rest_is_told() -> None:
    house = House(takes=False)
    for each in (1, 2):
        house.red(each)
    house.look()
    house.look(5)
    house.over(1)
    house.look(600)
    house.takes = True
    house.look(1)
    assert house.said() == [("red", {2})]


def test_a_notice_of_which_nothing_is_left_is_dropped() -> None:
    house = House(takes=False)
    house.red(1)
    house.look()
    house.look(5)
    house.over(1)
    house.look(1)
    assert [each.state for each in house.notices.values()] == ["dropped"]


def test_whoever_joins_a_cause_that_waits_goes_with_it() -> None:
    house = House(takes=False)
    house.red(1)
    house.look()
    house.look(5)
    house.red(2)
    house.look(1)
    house.look(0, sends=False)
    house.takes = True
    house.look(0)
    assert house.said() == [("red", {1, 2})]


def test_of_a_cause_no_two_notices_go_within_a_minute_and_what_came_and_went_in_between_is_in_none() -> None:
    house = House()
    house.red(1)
    house.look()
    house.look(5)
    for _ in range(9):
        house.over(1)
        house.look(3)
        house.red(1)
        house.look(3)
    assert house.said() == [("red", {1})]
    house.red(2)
    house.look(1)
    # The minute is over: the second of the cause is told, once.
    house.look(5)
    assert house.said()[1:] == [("red", {2})]


def test_different_causes_that_turn_red_together_go_in_one_notice_and_are_over_one_by_one() -> None:
    house = House()
    for each in (1, 2, 3):
        house.red(each, f"forwarder:forwarder:{each}")
    house.look()
    house.look(5)
    house.over(2)
    house.look(61)
    assert house.said() == [("red", {1, 2, 3}), ("over", {2})]


def test_what_somebody_knows_of_before_it_went_is_not_told_and_its_end_is_told_to_who_was_told() -> None:
    house = House()
    house.red(1)
    house.look()
    house.red(1, counts=False)
    house.look(5)
    assert house.said() == []
    house.red(2)
    house.look()
    house.look(5)
    house.red(2, counts=False)
    house.look(120)
    house.over(2)
    house.look(1)
    assert house.said() == [("red", {2}), ("over", {2})]


def test_of_what_is_muted_nothing_more_is_told_until_it_counts_again() -> None:
    house = House()
    house.red(1)
    house.look()
    house.look(5)
    house.red(1, counts=False, muted=True)
    house.look(120)
    house.over(1)
    house.look(1)
    assert house.said() == [("red", {1})]
    house.red(1)
    house.look()
    house.look(5)
    assert house.said() == [("red", {1})] * 2


def test_what_is_red_again_before_its_end_was_told_is_not_over() -> None:
    house = House()
    house.red(1)
    house.look()
    house.look(5)
    house.takes = False
    house.over(1)
    house.look(61)
    house.red(1)
    house.look(1)
    house.takes = True
    house.look(120)
    assert house.said() == [("red", {1})]
    assert [each.state for each in house.notices.values()] == ["sent", "dropped"]


def test_what_was_given_up_is_told_no_second_time_and_its_end_is_no_news() -> None:
    house = House(takes=False)
    house.red(1)
    house.look()
    house.look(5)
    house.notices[1] = house.notices[1]._replace(state="given_up")
    house.takes = True
    house.look(600)
    assert house.said() == []
    house.over(1)
    house.look(1)
    house.look(60)
    assert house.said() == []
    assert house.noticed == {}


def test_a_notice_that_somebody_may_have_stays_what_it_is_and_its_end_is_told() -> None:
    """Who sent it has died: it is sent again, though it is over by now, or nobody would know what to think."""
    house = House()
    house.red(1)
    house.look()
    house.look(5, sends=False)
    house.take(1)
    house.over(1)
    house.look(5)
    house.notices[1] = house.notices[1]._replace(state="due", unsure=True)
    house.takes = False
    # Its end does not come before it.
    house.look(120)
    assert house.kinds == {1: "red"}
    house.takes = True
    house.look(1)
    house.look(60)
    assert house.said() == [("red", {1}), ("over", {1})]


def test_what_was_given_up_is_told_once_any_notice_has_got_through() -> None:
    house = House(takes=False)
    house.red(1)
    house.look()
    house.look(5)
    house.notices[1] = house.notices[1]._replace(state="given_up")
    house.takes = True
    house.red(2, "another")
    house.look()
    house.look(5)
    assert house.said() == [("red", {2})]
    house.look(1)
    house.look(600)
    assert house.said() == [("red", {2}), ("red", {1})]
    house.over(1)
    house.look(1)
    assert house.said()[2:] == [("over", {1})]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["red", "over", "ack", "mute", "ease", "give up", "up", "down", "look"]),
        st.integers(0, 5),
        st.integers(0, 40),
    ),
    max_size=60,
)


def happens(house: House, move: str, which: int) -> None:
    cause = f"cause {which % 3}"
    match move:
        case "red":
            house.red(which, cause)
        case "over":
            house.alerts.pop(which, None)
        case "ack" | "mute" if which in house.alerts:
            house.red(which, cause, counts=False, muted=move == "mute")
        case "ease" if which in house.alerts:
            house.red(which, cause, counts=False, eased=True)
        case "give up":
            house.give_up()
        case "up" | "down":
            house.takes = move == "up"


def known(house: House) -> dict[int, Kind]:
    """Return what people know of alerts in the end, when nothing that they were told was wrong in its place."""
    last: dict[str, datetime] = {}
    found: dict[int, Kind] = {}
    for at, kind, alerts, causes in house.told:
        assert all(at - last.get(each, BEGAN - PAUSE) >= PAUSE for each in causes)
        assert kind == "red" or all(found.get(each) == "red" for each in alerts)
        last |= dict.fromkeys(causes, at)
        found |= dict.fromkeys(alerts, kind)
    return found


@given(MOVES)
def test_whatever_happens_nobody_is_told_twice_within_a_minute_and_in_the_end_everybody_knows(
    moves: list[tuple[str, int, int]],
) -> None:
    house = House()
    for move, which, seconds in moves:
        happens(house, move, which)
        house.look(seconds)
    house.takes = True
    for _ in range(10):
        house.look(61)
    told = known(house)
    given_up = {
        each for each, sent in house.notices.items() if sent.state == "given_up" and not sent.outlived
    }
    never = {each.alert_id for each in house.noticed.values() if each.red and each.red.notice_id in given_up}
    assert all(
        told[each.alert_id] == "red"
        for each in house.alerts.values()
        if each.counts and each.alert_id not in never
    )
    house.alerts.clear()
    for _ in range(10):
        house.look(61)
    assert house.noticed == {}
    known(house)
