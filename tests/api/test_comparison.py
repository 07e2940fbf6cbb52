"""A reader's memory against what we have, as multisets by the minute."""

from datetime import datetime
from functools import partial
from random import Random

import pytest

from api.reconcile import comparison
from api.reconcile.comparison import Comparison, Counts, FileRefused
from shared.protocol.ipico import annotate
from tests.api.recording import recording

LINE = "aa400000000123450a2a01123018455927a7"
OTHER = "aa400000000123450a2a0112301846000091"
wall_clock = partial(datetime, 2001, 12, 30)
AT, OTHER_AT = wall_clock(18, 45, 59, 390_000), wall_clock(18, 46)


def file(*lines: str, end: str = "\r\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def stored(*lines: str) -> list[tuple[bytes, datetime | None]]:
    return [(line.encode(), annotate(line)[1]) for line in lines]


def found(compared: Comparison) -> dict[bytes, int]:
    return {each.line: each.copies for each in compared.surplus()}


def test_a_line_is_there_as_often_as_it_is_there() -> None:
    compared = Comparison(file(LINE, OTHER, LINE, LINE))
    compared.take_ours(stored(LINE, OTHER, OTHER))
    assert found(compared) == {LINE.encode(): 2}
    assert compared.missing() == [LINE.encode(), LINE.encode()]
    assert compared.minutes() == [
        (wall_clock(18, 45), Counts(file=3, ours=1, both=1)),
        (wall_clock(18, 46), Counts(file=1, ours=2, both=1)),
    ]
    assert compared.total == Counts(file=4, ours=3, both=2)


def test_twelve_that_are_missing_are_found_whatever_copies_there_are_of_them() -> None:
    lines = recording()
    random = Random(12)
    twice = next(line for n, line in enumerate(lines) if line in lines[:n])
    # One that is there twice, both copies; ten more, wherever they are.
    gone = sorted(
        {n for n, line in enumerate(lines) if line == twice} | set(random.sample(range(len(lines)), 10))
    )[:12]
    missing = [lines[n] for n in gone]
    compared = Comparison(file(*lines))
    compared.take_ours(stored(*(line for n, line in enumerate(lines) if n not in gone)))
    assert sorted(line.decode() for line, copies in found(compared).items() for _ in range(copies)) == sorted(
        missing
    )
    assert sorted(compared.missing()) == sorted(line.encode() for line in missing)
    assert sum(counts.file - counts.both for _, counts in compared.minutes()) == len(missing)
    assert sum(counts.ours - counts.both for _, counts in compared.minutes()) == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "  \r\n", "\r\n\r\n"])
def test_what_ends_a_line_is_none_of_it(end: str) -> None:
    compared = Comparison(b"\xef\xbb\xbf" + file(LINE, OTHER, end=end))
    compared.take_ours([(LINE.encode() + b"\r\n", AT), (OTHER.encode() + b"\n", OTHER_AT)])
    assert (found(compared), compared.total) == ({}, Counts(2, 2, 2))


def test_banner_text_and_control_frames_are_passed_over_on_both_sides() -> None:
    banner = ["IPICO Sports Elite 4.1", "", "   ", "ab000000000000", "ad01020304", "#" * 5_000]
    compared = Comparison(file(*banner, LINE))
    compared.take_ours([*stored(*banner, LINE), (b"\xff\x00\xfe", None)])
    assert (found(compared), compared.total) == ({}, Counts(1, 1, 1))
    assert compared.passed_over == 4  # an empty line is none


def test_a_word_that_is_shorter_than_any_read_is_passed_over_on_both_sides() -> None:
    short = ["aardvark 4.1", LINE[:35], "aa"]
    compared = Comparison(file(*short, LINE))
    compared.take_ours(stored(*short))
    assert (found(compared), compared.total.ours, compared.passed_over) == ({LINE.encode(): 1}, 0, 3)
    assert compared.missing() == [LINE.encode()]


def test_a_line_of_a_log_is_the_read_that_stands_in_it() -> None:
    """Behind the time at which it came, or with bytes with which a reader fills what it saves."""
    content = f"2026-05-03 10:00:00.123 {LINE}\r\n10:00:01\t{OTHER}FS\r\n{LINE}\0\0\r\n\0\0\0{OTHER}\r\n\0\0"
    compared = Comparison(content.encode())
    assert compared.missing() == [each.encode() for each in (LINE, f"{OTHER}FS", LINE, OTHER)]
    compared.take_ours(stored(LINE, LINE, OTHER, f"{OTHER}FS"))
    assert (found(compared), compared.passed_over) == ({}, 0)


def test_lines_without_a_time_are_one_group_and_come_last() -> None:
    damaged, cut = LINE[:-1] + "8", LINE + "zz"
    compared = Comparison(file(damaged, cut, LINE, damaged))
    compared.take_ours(stored(damaged))
    assert compared.minutes()[-1] == (None, Counts(file=3, ours=1, both=1))
    assert found(compared) == {damaged.encode(): 1, cut.encode(): 1, LINE.encode(): 1}
    assert compared.without_time == 3
    assert {each.line: each.read_at for each in compared.surplus()}[LINE.encode()] == AT


def test_of_lines_on_their_way_those_of_other_days_are_left_out() -> None:
    compared = Comparison(file(LINE))
    compared.take_waiting([OTHER.encode(), LINE.encode()])
    assert compared.total == Counts(1, 1, 1)
    assert compared.span == (wall_clock(18, 45), wall_clock(18, 46))


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n", b"%PDF-1.7\n\x00\x01", b"ab40\r\n"])
def test_a_file_without_a_read_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused, match="begin with aa"):
        Comparison(content)


def test_a_file_of_more_lines_than_a_memory_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_LINES", 2)
    Comparison(file(LINE, LINE, LINE, OTHER))
    with pytest.raises(FileRefused, match="more than 2 different lines"):
        Comparison(file(LINE, OTHER, LINE + "FS"))


def test_minutes_beyond_what_is_kept_are_counted_in_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_MINUTES", 1)
    compared = Comparison(file(LINE, OTHER))
    compared.take_ours(stored(OTHER))
    assert compared.total == Counts(2, 1, 1)
    assert compared.minutes() == [(wall_clock(18, 45), Counts(file=1))]
