"""What a notice says, when it is tried again, and where it says that the page is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.notices.store import Taken
from api.notices.telling import outcome_of, page_at
from api.notices.wording import LONGEST_LINE, Line, text

AT = datetime(2026, 5, 3, 8, 0, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
LINE = Line("Finish box", "not connected, and its mat was in use", "Check its power.", AT)


def test_one_alert_is_said_whole_in_the_zone_of_the_race_with_its_number_and_the_page() -> None:
    said = text("red", 7, [LINE], zone=BERLIN, page="https://timing.example")
    assert said.title == "ACT: Finish box: not connected, and its mat was in use"
    assert said.body.splitlines() == [
        "Finish box: not connected, and its mat was in use, since 10:00:30 CEST",
        "Check its power.",
        "https://timing.example (notice 7)",
    ]


def test_several_are_said_oldest_first_and_what_to_do_where_it_is_the_same() -> None:
    younger = LINE._replace(title="Start box", since=AT + timedelta(seconds=9))
    said = text("red", 7, [younger, LINE], zone=UTC)
    assert said.title == "ACT: Finish box: not connected, and its mat was in use and 1 more"
    assert [each.partition(":")[0] for each in said.body.splitlines()[:2]] == ["Finish box", "Start box"]
    assert said.body.splitlines()[2:] == ["Check its power.", "rt-server, notice 7"]
    other = younger._replace(advice="Start it again.")
    assert "Check its power." not in text("red", 7, [other, LINE], zone=UTC).body


def test_what_is_over_says_from_when_to_when_and_nothing_to_do() -> None:
    said = text("over", 8, [LINE._replace(over_at=AT + timedelta(minutes=4))], zone=UTC)
    assert said.title.startswith("Over: Finish box")
    assert "from 08:00:30 UTC to 08:04:30 UTC" in said.body
    assert "Check" not in said.body


def test_however_long_names_are_a_notice_fits() -> None:
    long = LINE._replace(title="Zieleinlauf " * 100)
    said = text("red", 7, [long] * 500, zone=UTC)
    assert len(said.title) < LONGEST_LINE + 30
    assert len(said.body) < 3000
    assert "and 490 more" in said.body


@pytest.mark.parametrize(("tries", "after_s"), [(1, 5), (2, 15), (3, 30), (4, 60), (5, 60), (60, 60)])
def test_it_is_tried_again_soon_then_every_minute_and_after_an_hour_no_more(
    tries: int, after_s: float
) -> None:
    taken = Taken(7, "red", AT, tries, None, None, [], unsure=False, now=AT + timedelta(minutes=59))
    assert outcome_of(taken, {"a": None, "b": None}).state == "sent"
    failed = outcome_of(taken, {"a": None, "b": "answers 500"})
    assert (failed.state, failed.reached, failed.problem) == ("due", ["a"], "b: answers 500")
    assert failed.again_after == timedelta(seconds=after_s)
    late = taken._replace(now=AT + timedelta(hours=1))
    assert outcome_of(late, {"b": "answers 500"}).state == "given_up"


@pytest.mark.parametrize(
    ("site_address", "page"),
    [
        ("", ""),
        ("http://:8080", ""),
        (":8080", ""),
        ("timing.example", "https://timing.example"),
        ("timing.example, www.timing.example", "https://timing.example"),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
    ],
)
def test_where_the_page_is_follows_from_the_name_of_the_site(site_address: str, page: str) -> None:
    assert page_at(site_address) == page
