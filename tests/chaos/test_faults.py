"""The sequence of faults is a function of the seed, meets every kind, and leaves alone what must be left alone."""

import subprocess
import sys
from collections import Counter
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import inject
from tests.chaos.faults import KINDS, Fault, Strike, strikes
from tests.chaos.inject import Injector
from tests.chaos.report import Outcome


def first(count: int, seed: int) -> list[str]:
    return [f"{strike} {strike!r}" for strike in islice(strikes(seed), count)]


def test_a_seed_gives_the_same_faults_again() -> None:
    assert first(300, seed=7) == first(300, seed=7)


def test_a_seed_gives_the_same_faults_in_another_process() -> None:
    program = "from tests.chaos.test_faults import first; print(*first(50, seed=7), sep='\\n')"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == first(50, seed=7)


def test_another_seed_gives_other_faults() -> None:
    assert first(10, seed=7) != first(10, seed=8)


def test_every_kind_strikes_once_in_each_round() -> None:
    struck = [fault.kind for strike in islice(strikes(3), 200) for fault in strike.faults]
    for start in range(0, 5 * len(KINDS), len(KINDS)):
        assert Counter(struck[start : start + len(KINDS)]) == Counter(KINDS)


def test_some_faults_strike_together_and_some_alone() -> None:
    sizes = Counter(len(strike.faults) for strike in islice(strikes(3), 200))
    assert sizes.keys() == {1, 2}
    assert sizes[1] > sizes[2] > 10


def test_who_must_outlast_another_is_struck_by_nothing_else() -> None:
    for strike in islice(strikes(3), 500):
        assert len(strike.faults) == 1 or all(fault.what != "outlast" for fault in strike.faults)


async def test_a_fault_that_does_not_come_about_is_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    async def rebooted(_: Any) -> None: ...

    monkeypatch.setattr(inject, "wait_until", never)
    mat: Any = SimpleNamespace(
        readers=["r"], watched=SimpleNamespace(hold_back=print, let_go=print), reboot=rebooted
    )
    fleet: Any = SimpleNamespace(
        forwarders=[mat],
        receivers=["r"],
        number=0,
        say=lambda *_, **__: None,
        link_of=lambda _: SimpleNamespace(cut=print),
    )
    none: Any = None
    injector = Injector(none, fleet, none, none)
    await injector.inject(Strike((Fault("send late", (1,)),), 0.0, 0.0))
    assert injector.in_vain == {"send late": 1}
    outcome = Outcome(1, 1.0)
    outcome.in_vain = dict(injector.in_vain)
    assert outcome.as_json()["in_vain"] == {"send late": 1}
