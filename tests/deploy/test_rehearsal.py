"""What a rehearsal is made of: a score of what was read once, what breaks when, and which alerts told of it."""

from collections import Counter
from datetime import datetime
from functools import partial

import pytest

from deploy.simulation.devices.journal import Journal
from deploy.simulation.rehearsal.faults import KINDS, Fault, plan
from deploy.simulation.rehearsal.heard import Alert, answered
from deploy.simulation.rehearsal.score import Mat, clock_at, retimed, score
from shared.protocol.ipico import parse
from tests.api.recording import behind, doubled, recording

NOW = datetime(2026, 11, 26, 19, 0)  # noqa: DTZ001 - a reader's clock has no zone
READER = "10.0.0.1:10000"


def test_a_score_has_every_line_in_the_order_of_its_reader_and_takes_so_much_less_time() -> None:
    lines = recording()
    played = score([Mat("start", READER, lines), Mat("start", "10.0.0.2:10000", lines[:9])], speed=60)
    assert [each.line for each in played.said if each.mat == 0] == lines
    assert [each.line for each in played.said if each.mat == 1] == lines[:9]
    times = [each.at_s for each in played.said]
    assert times == sorted(times)
    read = [read_at for line in lines if (read_at := parse(line).read_at)]
    assert played.seconds == pytest.approx((max(read) - min(read)).total_seconds() / 60)


def test_what_is_doubled_or_late_stays_so_and_every_line_is_a_read_of_now() -> None:
    lines = recording()
    # As fast as it was: a hundredth of a second is the least that a line can say.
    played = score([Mat("start", READER, lines)], speed=1)
    said = [retimed(each.line, clock_at(NOW, each.clock_s or 0, 0.0)) for each in played.said]
    assert doubled(said) == pytest.approx(doubled(lines))
    assert behind(said) == pytest.approx(behind(lines))
    for before, after in zip(map(parse, lines), map(parse, said), strict=True):
        assert after.parse_error is None
        assert (before.tag_id, before.i, before.q) == (after.tag_id, after.i, after.q)
    assert parse(said[0]).read_at == NOW


@pytest.mark.parametrize(
    "line",
    [
        "aa400000000123450a2a01123018455927a7",
        "aa400000000123450a2a01123018455927a7FS",
        "aa00058000123b3200042603081222022f060060ce",
        "aa00058000123b3200042603081222022f060060ceLS",
    ],
)
def test_a_line_of_any_form_is_retimed(line: str) -> None:
    before, after = parse(line), parse(retimed(line, NOW))
    assert (after.read_at, after.parse_error) == (NOW, None)
    assert (after.tag_id, after.sighting) == (before.tag_id, before.sighting)


def test_a_line_without_a_time_comes_with_the_one_before_it() -> None:
    lines = recording()[:3]
    played = score([Mat("start", READER, ["aa1234", lines[0], "aa40 damaged", lines[2]])], speed=10)
    assert [each.clock_s is None for each in played.said] == [True, False, True, False]
    assert played.said[2].at_s == played.said[1].at_s
    with pytest.raises(ValueError, match="no line of it says a time"):
        score([Mat("start", READER, ["aa1234"])], speed=10)


def test_faults_are_those_of_their_seed_each_kind_once_and_one_after_the_other() -> None:
    planned = partial(plan, forwarders=3, mats=8, seconds=400)
    faults = planned(7)
    assert faults == planned(7) != planned(8)
    assert Counter(each.kind for each in faults) == dict.fromkeys(KINDS, 1)
    for fault, following in zip(faults, [*faults[1:], None], strict=True):
        over = fault.at_s + fault.lasts_s
        assert fault.at_s < over < (400 if following is None else following.at_s)
        assert fault.subject < (8 if fault.kind == "clock" else 3)
        assert (fault.off_s != 0) is (fault.kind == "clock")


def test_alerts_are_told_of_the_fault_that_they_came_with() -> None:
    def alert(seen_at: float, signal: str, of: str) -> Alert:
        return Alert(seen_at, signal, of, of, "watch", signal)

    struck = [(Fault(0, 20, "cut", 0), 100.0), (Fault(60, 20, "clock", 1, 12.0), 160.0)]
    gone, clock = alert(116, "forwarder_gone", "a"), alert(175, "clock", "b")
    before, neighbour = alert(90, "clock", "b"), alert(118, "forwarder_gone", "c")
    faults, others = answered(struck, ["a", "b"], [before, gone, neighbour, clock])
    assert [each.alerts for each in faults] == [[gone], [clock]]
    assert others == [before, neighbour]
    assert answered([], [], [gone]) == ([], [gone])


def test_a_journal_that_forgets_acks_sends_its_newest_reads_again() -> None:
    journal = Journal()
    record = partial(journal.append, READER, reader_timestamp="", read_type="raw")
    for n in range(1, 7):
        record(f"line {n}")
    journal.ack(READER, 1, 5)
    journal.forget_acks(3)
    assert [each.seq for each in journal.batch(99)] == [3, 4, 5, 6]
    assert journal.reads(READER) == (6, 2)
    journal.ack(READER, 1, 4)
    assert journal.reads(READER) == (6, 4)
    journal.ack(READER, 1, 6)
    assert (journal.reads(READER), journal.backlog) == ((6, 6), 0)
    # Of an older epoch nothing is sent again: the cursor stands in this one.
    journal.turn_epoch(READER, 2)
    record("line 7")
    journal.ack(READER, 2, 1)
    journal.forget_acks(3)
    assert [each[1:3] for each in journal.batch(99)] == [(2, 1)]
