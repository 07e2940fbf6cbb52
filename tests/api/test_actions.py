"""What alerts advise can be done: here, where they are read, or outside of the page as it is said.

Every kind of alert is gone through, and each clause of its advice. What it tells to do on the page must be among its
actions, each with the word that names it; what is left must be known as something that is done elsewhere, or tell
nothing to do.
"""

import re
from typing import get_args

import pytest

from api.alerts.actions import Action, actions
from api.alerts.conditions import Finding
from api.alerts.rules import BOUNDS, Signal
from api.settings import ApiSettings
from tests.api import rules
from tests.api.rules import ELSEWHERE

# What advice says is done on the page, and the action that does it.
HERE: dict[str, Action] = {
    r"close (its|the) streams?": "close_streams",
    r"close the point": "close_point",
    r"revoke its tokens": "revoke_tokens",
    r"delete its cursors": "delete_cursors",
    r"under Conflicts|acknowledge them": "open_conflicts",
    r"stream's page": "open_stream",
    r"restart (it|the forwarder)": "restart_forwarder",
    r"\blog\b": "open_log",
    r"delete (those of )?its streams": "open_streams",
}
# What tells nothing to do: a case, or what is so.
CASE = re.compile(r"(if|where)\b.*,|fine between waves;", re.IGNORECASE)
SO = re.compile(
    r"(and )?(it|its|they|their|times|both|a forwarder|nothing|forwarders|reads|whether|what|"
    r"the (others|writers|stream's page|log))\b.*",
    re.IGNORECASE,
)


EVERY = list(rules.every())


def test_every_kind_is_gone_through() -> None:
    assert {finding.key.signal for _, finding in EVERY} == set(BOUNDS)


def offered(finding: Finding) -> set[str]:
    return set(actions(finding.key.signal, finding.key.subject_kind))


def named(advice: str) -> set[str]:
    """Return the actions that an advice names."""
    return {action for words, action in HERE.items() if re.search(words, advice, re.IGNORECASE)}


@pytest.mark.parametrize(("kind", "finding"), EVERY, ids=[kind for kind, _ in EVERY])
def test_what_is_advised_can_be_done_where_it_is_read(kind: str, finding: Finding) -> None:
    both = {"close_stream": "close_streams", "open_streams": "open_stream"}
    can = offered(finding) | {both[each] for each in offered(finding) & both.keys()}
    assert named(finding.advice) <= can, finding.advice
    assert unknown(finding.advice) == []
    # An advice that tells nothing to do is none.
    assert named(finding.advice) or is_elsewhere(finding.advice), finding.advice


def is_elsewhere(advice: str) -> bool:
    return any(re.search(words, advice, re.IGNORECASE) for words in ELSEWHERE)


def unknown(advice: str) -> list[str]:
    """Return the clauses that may tell to do something of which nobody knows where it is done."""
    return [
        clause
        for clause in re.split(r"(?<=[.;:,])\s+", advice)
        if not (named(clause) or is_elsewhere(clause) or CASE.fullmatch(clause) or SO.fullmatch(clause))
    ]


def test_an_instruction_beside_a_known_one_is_not_overlooked() -> None:
    assert unknown("Check its power; polish its antenna. If it is dry, close its streams.") == [
        "polish its antenna."
    ]


@pytest.mark.parametrize("signal", get_args(Signal))
def test_what_is_offered_is_said(signal: Signal) -> None:
    """A button that no word leads to is pressed by mistake."""
    said = " ".join(finding.advice for _, finding in EVERY if finding.key.signal == signal)
    links = {"open_stream", "open_streams", "open_log"}
    for _, finding in EVERY:
        if finding.key.signal == signal:
            kinds = {"close_streams" if each == "close_stream" else each for each in offered(finding)}
            assert kinds - links <= named(said)


def test_settings_that_are_advised_exist() -> None:
    advice = " ".join(finding.advice for _, finding in EVERY)
    for name in set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", advice)) - {"MAX_READERS", "MAX_EPOCHS", "CLOCK_KEPT"}:
        assert name.lower() in ApiSettings.__dataclass_fields__, name


def test_no_command_is_advised_that_would_need_more_than_it_says() -> None:
    for text in (finding.advice for _, finding in EVERY):
        assert "rt-server " not in text
