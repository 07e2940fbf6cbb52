"""A wait in vain says what it waited for, before the test is ended from outside."""

import pytest

from tests import waiting
from tests.waiting import wait_until


async def test_however_busy_the_machine_a_wait_ends_before_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1e9, 1e9, 1e9))
    monkeypatch.setattr(waiting, "LONGEST_WAIT_S", 0.05)
    with pytest.raises(AssertionError, match="for what never comes; last seen: False"):
        await wait_until(lambda: False, deadline_s=0.01, what="what never comes")


def test_the_longest_wait_is_shorter_than_a_test_may_take(pytestconfig: pytest.Config) -> None:
    assert float(pytestconfig.getini("timeout")) > waiting.LONGEST_WAIT_S
