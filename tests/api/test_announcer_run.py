"""What a run is, decided without a database."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from api.announcer.run import ENABLED_FOR, Read, Setting, begins, display_name, finishes, until
from api.races.names import NOBODY, Whose
from tests.api.seeds import SECOND, START

A, B, RACE = UUID(int=1), UUID(int=2), UUID(int=9)
OFF = Setting(enabled=False, until=None, over=False, max_list_size=25, stream_ids=[A, B])
ON = OFF._replace(enabled=True, until=START)
OVER = ON._replace(over=True)


@pytest.mark.parametrize(
    ("before", "enabled", "streams", "begin"),
    [
        (OFF, True, [A, B], True),
        (OFF, False, [A], False),
        (ON, True, [A, B], False),
        (ON, True, [B, A], False),
        (ON, True, [A], True),
        (ON, False, [A], False),
        (OVER, True, [A, B], True),
        (OVER, False, [A, B], False),
    ],
)
def test_when_a_run_begins(before: Setting, *, enabled: bool, streams: Sequence[UUID], begin: bool) -> None:
    assert begins(before, enabled=enabled, stream_ids=streams) is begin


def test_until_when_it_is_enabled() -> None:
    now = START + timedelta(days=3)
    assert until(OFF, enabled=True, now=now) == now + ENABLED_FOR == until(OVER, enabled=True, now=now)
    assert until(ON, enabled=True, now=now) == START
    assert until(ON, enabled=False, now=now) is None


def read(stream: UUID, position: int, tag: str | None, after_s: int, *, epoch: int = 1) -> Read:
    return Read(stream, 1, epoch, position, position, tag, "", START + after_s * SECOND)


def order(*reads: Read) -> list[str | None]:
    return [each.read.tag_id for each in finishes(reads, {})]


def test_a_stream_s_order_is_that_of_its_commits_whatever_clocks_say() -> None:
    assert order(read(A, 2, "y", 0), read(A, 1, "x", 5)) == ["x", "y"]
    # Among other streams the one that was held up counts as received with the one before it.
    assert order(read(A, 1, "x", 5), read(A, 2, "y", 0), read(B, 1, "z", 3)) == ["z", "x", "y"]


def test_streams_are_merged_by_the_time_of_receipt_and_then_by_their_ids() -> None:
    assert order(read(B, 1, "b", 1), read(A, 1, "a", 1), read(B, 2, "d", 3), read(A, 2, "c", 2)) == list(
        "abcd"
    )


def test_what_counts_is_a_chip_of_the_run_s_epoch_or_a_later_one_once() -> None:
    late, later = read(A, 1, "late", 0, epoch=0), read(A, 3, "later", 2, epoch=2)
    assert order(late, read(A, 2, None, 1), later, read(A, 4, "later", 3, epoch=2)) == ["later"]


def test_who_somebody_is_is_his_bib_in_his_race_else_his_chip() -> None:
    one, two, three = read(A, 1, "x", 0), read(A, 2, "y", 1), read(A, 3, "z", 2)
    ada = Whose(RACE, 7, first_name="Ada", last_name="Doe")
    found = finishes([one, two, three], {one.sighting: ada, two.sighting: ada, three.sighting: Whose(RACE)})
    assert [each.subject for each in found] == [f"bib:{RACE}:7", "chip:z"]


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ("Ada", "Doe", "Ada Doe"),
        ("", "Doe", "Doe"),
        ("Ada", "", "Ada"),
        ("", "", "Unknown"),
        (None, None, "Unknown"),
    ],
)
def test_what_somebody_is_called(first: str | None, last: str | None, shown: str) -> None:
    assert display_name(NOBODY._replace(first_name=first, last_name=last)) == shown
