"""When a device that sends what is not right is admitted again: pure."""

from uuid import uuid4

import pytest

from gateway.brake import FORGET_AFTER_S, Brake

TOKEN = uuid4()


def test_it_holds_longer_each_time_up_to_half_a_minute() -> None:
    brake, now, delays = Brake(), 100.0, []
    for _ in range(6):
        assert brake.left_s(TOKEN, now=now) == 0
        delays.append(brake.pull(TOKEN, now=now))
        assert brake.left_s(TOKEN, now=now) == delays[-1]
        assert brake.left_s(TOKEN, now=now + delays[-1] - 1) == 1
        assert brake.left_s(uuid4(), now=now) == 0
        now += delays[-1]
    assert delays == [5, 10, 20, 30, 30, 30]


def test_a_batch_that_was_acked_or_five_quiet_minutes_and_it_begins_anew() -> None:
    brake = Brake()
    for now in (0.0, 10.0):
        brake.pull(TOKEN, now=now)
    brake.release(TOKEN)
    assert brake.left_s(TOKEN, now=11.0) == 0
    assert brake.pull(TOKEN, now=20.0) == 5
    assert brake.pull(TOKEN, now=20.0 + FORGET_AFTER_S) == 10
    assert brake.pull(TOKEN, now=21.0 + 2 * FORGET_AFTER_S) == 5


def test_it_remembers_so_many_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.brake.KEPT", 2)
    brake, tokens = Brake(), [uuid4() for _ in range(3)]
    for token in (*tokens[:2], tokens[0], tokens[2]):
        brake.pull(token, now=0.0)
    assert [brake.left_s(token, now=0.0) for token in tokens] == [10, 0, 5]
