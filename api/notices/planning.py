"""What is to be told of alerts, and what not any more. Pure.

An alert that has turned red is told a few seconds later, if it is red still and nobody has said that he knows: together
with all others that wait then, in one notice. One that hovers, better for a moment again and again, waits on and is
told when it is worse again: people see it red all along. That it is over is told when all that was told of its cause
is over. Of a cause no two notices go within a minute; what comes and goes meanwhile is in the next one, or in none.

A notice that nobody has got yet, and that is not under way, can be changed: an alert that is over leaves it, one of the
same cause joins it, and one without any alert is dropped. Once somebody has it, or may have it (who sent it died before
he noted so), it stays what it is. What was given up with nobody having it waits again once any notice has got through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "AT_MOST",
    "COALESCED_FOR",
    "PAUSE",
    "Alert",
    "Facts",
    "Kind",
    "Noticed",
    "Plan",
    "Sent",
    "State",
    "plan",
]

Kind: TypeAlias = Literal["red", "over"]
State: TypeAlias = Literal["due", "taken", "sent", "given_up", "dropped"]

# What turns red together does so within a look or two, and much of it is over as soon.
COALESCED_FOR = timedelta(seconds=5)
# Between two notices of a cause.
PAUSE = timedelta(minutes=1)
# Alerts that are noticed at a time; people look at the page by then.
AT_MOST = 1_000


class Alert(NamedTuple):
    """An open alert that is red. counts: it is so at this moment, and nobody has acknowledged or muted it. eased:
    nobody has, but it is shown red only until it has been better for long enough.
    """

    alert_id: int
    cause: str
    counts: bool
    muted: bool = False
    eased: bool = False


class Sent(NamedTuple):
    """How far a notice has come. reached: somebody has it. unsure: somebody may have it, for who sent it died before he
    noted what came of it. outlived: it was given up, and another has got through since.
    """

    notice_id: int
    state: State
    reached: bool = False
    unsure: bool = False
    outlived: bool = False

    @property
    def settled(self) -> bool:
        """Whether it stays what it is: it has ended, is under way, or somebody has it or may have it."""
        return self.state != "due" or self.reached or self.unsure

    @property
    def told(self) -> bool:
        """Whether somebody has it, or may."""
        return self.reached or self.unsure or self.state == "taken"


class Noticed(NamedTuple):
    """An alert of which something is to be told, or was. red, over: the notices that say so, once there are."""

    alert_id: int
    cause: str
    red_at: datetime
    red: Sent | None = None
    over_at: datetime | None = None
    over: Sent | None = None


class Facts(NamedTuple):
    """What a plan is made of. recent: causes of which a notice went within PAUSE, or is on its way."""

    now: datetime
    alerts: Sequence[Alert]
    noticed: Sequence[Noticed]
    recent: frozenset[str]


@dataclass
class Plan:
    """What to write. new: alerts to keep in mind. forget: those to forget. wait: those that leave the notice that told
    nobody of them, and wait for another. over, back: of what was told, what is over now, and what is not
    after all. red, ended: what one new notice of each kind tells. join: for alerts the notice that they go with.
    leave: alerts of which it is not told that they are over.
    """

    new: list[Alert] = field(default_factory=list)
    forget: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    red: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    join: dict[int, int] = field(default_factory=dict)
    leave: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())


def plan(facts: Facts) -> Plan:
    """Return what is to be done; the same facts with that done make an empty plan."""
    done = Plan()
    red = {each.alert_id: each for each in facts.alerts}
    known = {each.alert_id for each in facts.noticed}
    found = (each for each in facts.alerts if each.counts and each.alert_id not in known)
    done.new = list(islice(found, max(0, AT_MOST - len(known))))
    found_again = (_kept(each, red.get(each.alert_id), done) for each in facts.noticed)
    kept = [each for each in found_again if each is not None]
    # What is new goes with what of its cause is told at this very look.
    kept += [Noticed(each.alert_id, each.cause, facts.now) for each in done.new]
    causes: dict[str, list[Noticed]] = {}
    for each in kept:
        causes.setdefault(each.cause, []).append(each)
    for cause, members in causes.items():
        _tell(members, cause in facts.recent, red, facts.now, done)
    return done


def _kept(each: Noticed, alert: Alert | None, done: Plan) -> Noticed | None:
    """Decide what an alert that is noticed is by now; None where nothing is to be told of it any more."""
    told = each.red is not None and each.red.told
    muted = alert is not None and alert.muted and not _under_way(each)
    # What waits, or was given up, is nothing once it is over or somebody knows; then it is told when it counts again.
    # While it has only eased it keeps its place: what hovers would begin its few seconds anew each time.
    if muted or not (told or (alert is not None and (alert.counts or alert.eased))):
        done.forget.append(each.alert_id)
        return None
    if told and alert is None and each.over_at is None:
        done.over.append(each.alert_id)
    if told and alert is not None and each.over_at is not None and not (each.over and each.over.settled):
        done.back.append(each.alert_id)
    if each.red is not None and not told and alert is not None and (alert.eased or each.red.outlived):
        done.wait.append(each.alert_id)
        return each._replace(red=None)
    return each


def _under_way(each: Noticed) -> bool:
    return any(sent is not None and sent.state == "taken" for sent in (each.red, each.over))


def _comes_again(each: Noticed) -> bool:
    """Whether that it is red may have been told, and is still to come: its end must not come before that."""
    return each.red is not None and each.red.state == "due" and not each.red.reached


def _tell(
    members: Sequence[Noticed], recent: bool, red: Mapping[int, Alert], now: datetime, done: Plan
) -> None:
    """Decide what is told of one cause now."""
    waiting = [each for each in members if each.red is None]
    ready = [each for each in waiting if red[each.alert_id].counts]
    told = [each for each in members if each.red is not None and each.red.told]
    open_over = [each for each in told if each.over is not None and not each.over.settled]
    still_red = [each for each in told if each.alert_id in red]
    if waiting or still_red:
        # Not over after all: whoever was told that it is red is right.
        done.leave += [each.alert_id for each in open_over]
    if ready:
        open_red = [each.red for each in members if each.red is not None and not each.red.settled]
        if open_red:
            done.join |= {each.alert_id: open_red[0].notice_id for each in ready}
        elif not recent and min(each.red_at for each in ready) <= now - COALESCED_FOR:
            done.red += [each.alert_id for each in ready]
    elif len(told) == len(members) and not still_red and not recent and not any(map(_comes_again, told)):
        done.ended += [each.alert_id for each in told if each.over is None]
