"""The oracle finds each kind of violation, and says nothing where all is well."""

from dataclasses import dataclass, field

import pytest

from tests.chaos import oracle
from tests.chaos.ledger import Event, Ledger
from tests.chaos.oracle import Counts, Stored
from tests.chaos.test_ledger import event

SENT = [event(1, "a"), event(2, "b"), event(3, "c")]
STORED = [Stored(each, position) for position, each in enumerate(SENT, start=1)]
COUNTS = Counts("f", "r", 1, 3, 3, 0, 0, 1, 3, 1, 3)


@dataclass
class Account:
    """A device that sent three events, all acked."""

    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.ledger.note_sent(SENT)
        self.ledger.note_acked(SENT, reader_ip="r", stream_epoch=1, last_seq=3)


def found(problems: list[str], *words: str) -> bool:
    """Whether the problems are exactly these: one for each of `words`."""
    return len(problems) == len(words) and all(any(word in each for each in problems) for word in words)


def stored_once(stored: list[Stored], conflicts: tuple[Event, ...] = ()) -> list[str]:
    return oracle.stored_once(Account().ledger, stored, conflicts)


def test_where_all_is_well_nothing_is_said() -> None:
    account = Account()
    assert oracle.lost_acks(account.ledger.acked, STORED, []) == []
    assert oracle.stored_once(account.ledger, STORED, []) == []
    assert oracle.positions(account.ledger, STORED) == []
    assert oracle.counters(STORED, [], [COUNTS]) == []
    assert oracle.delivered("t", [SENT[:2], SENT[1:]], STORED) == []
    assert oracle.exports({("f", "r"): b"a\nb\nc\n"}, STORED, {("f", "r"): SENT}) == []


def test_an_acked_event_that_is_not_stored_is_found() -> None:
    assert found(oracle.lost_acks(set(SENT), STORED[:2], []), "1 acked and not stored: f r 1 3 c")


def test_an_acked_event_that_was_kept_aside_is_stored() -> None:
    assert oracle.lost_acks(set(SENT), STORED[:2], SENT[2:]) == []


def test_a_sent_event_that_is_not_stored_is_found() -> None:
    assert found(stored_once(STORED[:2]), "1 sent and not stored")


def test_an_event_that_is_stored_twice_is_found() -> None:
    assert found(stored_once([*STORED, Stored(SENT[0], 4)]), "1 stored twice: f r 1 1")


@pytest.mark.parametrize(
    "altered",
    [
        event(3, "C"),
        event(3, "c\x00"),
        SENT[2]._replace(reader_timestamp=""),
        SENT[2]._replace(read_type="fsls"),
    ],
)
def test_an_altered_byte_is_found(altered: Event) -> None:
    assert found(
        stored_once([*STORED[:2], Stored(altered, 3)]),
        "1 sent and not stored",
        "1 stored and not what was sent",
    )


def test_an_event_that_nobody_sent_is_found() -> None:
    assert found(stored_once([*STORED, Stored(event(4), 4)]), "1 stored and not what was sent")


def test_a_conflict_without_a_lost_journal_is_found() -> None:
    account = Account()
    account.ledger.note_sent([event(1, "other")])
    problems = oracle.stored_once(account.ledger, STORED, [event(1, "other")])
    assert found(problems, "a conflict, though the device kept its journal")


def test_a_conflict_after_a_lost_journal_is_no_violation() -> None:
    account = Account()
    account.ledger.note_journal_lost("f")
    account.ledger.note_sent([event(1, "other")])
    assert oracle.stored_once(account.ledger, STORED, [event(1, "other")]) == []


def test_a_line_that_was_kept_aside_and_never_sent_is_found() -> None:
    account = Account()
    account.ledger.note_journal_lost("f")
    assert found(
        oracle.stored_once(account.ledger, STORED, [event(1, "x")]), "kept aside and not what was sent"
    )


def test_an_ack_of_what_was_not_sent_is_found() -> None:
    account = Account()
    account.ledger.note_acked(SENT, reader_ip="r", stream_epoch=1, last_seq=9)
    assert found(oracle.stored_once(account.ledger, STORED, []), "acked up to 9, which was not sent")


@pytest.mark.parametrize("wrong", [(1, 2, 4), (2, 3, 4), (1, 2, 2)])
def test_positions_with_a_gap_or_a_double_are_found(wrong: tuple[int, ...]) -> None:
    stored = [Stored(each, position) for each, position in zip(SENT, wrong, strict=True)]
    assert found(oracle.positions(Ledger(), stored), "1 streams whose positions are not 1, 2, 3")


def test_events_that_are_stored_out_of_order_are_found() -> None:
    stored = [Stored(SENT[0], 1), Stored(SENT[2], 2), Stored(SENT[1], 3)]
    assert found(
        oracle.positions(Ledger(), stored), "1 epochs whose seqs do not rise with their positions: f r 1"
    )


def test_a_gap_in_an_epoch_is_found() -> None:
    stored = [Stored(event(seq), position) for position, seq in enumerate((1, 2, 4), start=1)]
    assert found(oracle.positions(Ledger(), stored), "1 epochs whose seqs are not 1, 2, 3 …: f r 1")


def test_numbers_that_were_sent_late_may_be_stored_late_and_no_others() -> None:
    stored = [Stored(event(seq), position) for position, seq in enumerate((3, 4, 1, 2), start=1)]
    ledger = Ledger()
    ledger.late = {event(1).identity, event(2).identity}
    assert oracle.positions(ledger, stored) == []
    ledger.late = {event(1).identity}
    assert found(oracle.positions(ledger, stored), "1 epochs whose seqs do not rise with their positions")
    assert found(oracle.positions(ledger, stored[:3]), "whose seqs are not 1, 2, 3")


def test_numbers_that_a_lost_journal_passed_over_are_missed_by_nobody() -> None:
    stored = [Stored(event(seq), position) for position, seq in enumerate((1, 4, 2), start=1)]
    ledger = Ledger()
    ledger.torn = {("f", "r", 1)}
    assert oracle.positions(ledger, stored) == []


def test_epochs_may_lie_among_each_other() -> None:
    later = [event(1, epoch=2), event(2, epoch=2)]
    order = [SENT[0], later[0], SENT[1], later[1], SENT[2]]
    assert (
        oracle.positions(Ledger(), [Stored(each, position) for position, each in enumerate(order, start=1)])
        == []
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (COUNTS._replace(raw=4), "raw is not dedup"),
        (COUNTS._replace(dedup=2, raw=2), "dedup_count is 2 for 3 events"),
        (COUNTS._replace(first_seq=2), "first or last seq"),
        (COUNTS._replace(last_seq=4), "first or last seq"),
        (COUNTS._replace(chips=2), "2 chips"),
        (COUNTS._replace(last_position=4), "last_position is 4"),
    ],
)
def test_wrong_counters_are_found(wrong: Counts, words: str) -> None:
    assert found(oracle.counters(STORED, [], [wrong]), words)


def test_a_conflict_that_is_not_counted_is_found() -> None:
    assert found(oracle.counters(STORED, [event(1, "x")], [COUNTS]), "conflict_count is 0 for 1")


def test_events_without_counters_are_found() -> None:
    assert found(oracle.counters(STORED, [], []), "events, and no counters")


def test_a_missing_delivery_is_found() -> None:
    assert found(oracle.delivered("t", [SENT[:2]], STORED), "t: 1 stored and not delivered: f r 1 3")


def test_a_delivery_of_other_bytes_is_found() -> None:
    problems = oracle.delivered("t", [[*SENT[:2], event(3, "C")]], STORED)
    assert found(problems, "1 stored and not delivered", "1 delivered and not what is stored")


def test_a_double_on_one_connection_is_found() -> None:
    assert found(oracle.delivered("t", [[*SENT, SENT[2]]], STORED), "1 delivered twice on one connection")


def test_a_double_on_two_connections_is_none() -> None:
    assert oracle.delivered("t", [SENT, SENT], STORED) == []


def test_disorder_on_one_connection_is_found() -> None:
    problems = oracle.delivered("t", [[SENT[0], SENT[2], SENT[1]]], STORED)
    assert found(problems, "1 delivered behind a later seq: f r 1 2")


# 3 was stored behind 4: a receiver may have it before 4 or behind it, by when it came.
LATE = [Stored(event(seq), position) for position, seq in enumerate((1, 2, 4, 3, 5), start=1)]


@pytest.mark.parametrize("came", [(1, 2, 3, 4, 5), (1, 2, 4, 3, 5)])
def test_what_was_stored_late_may_come_late(came: tuple[int, ...]) -> None:
    assert oracle.delivered("t", [[event(seq) for seq in came]], LATE) == []


@pytest.mark.parametrize("came", [(1, 2, 3, 5, 4), (1, 4, 2, 3, 5), (1, 2, 4, 5, 3)])
def test_what_was_stored_in_time_may_not_come_late(came: tuple[int, ...]) -> None:
    problems = oracle.delivered("t", [[event(seq) for seq in came]], LATE)
    assert found(problems, "1 delivered behind a later seq")


def test_a_hole_below_what_a_receiver_was_acked_is_found() -> None:
    """It had 1, 2 and 4 when it left, 3 was stored, and from after 4 on everything came."""
    connections = [[event(1), event(2), event(4)], [event(5)]]
    assert found(oracle.delivered("t", connections, LATE), "1 stored and not delivered: f r 1 3")
    assert oracle.delivered("t", [connections[0], [event(3), event(5)]], LATE) == []


@pytest.mark.parametrize(
    "exported", [b"", b"a\nb\n", b"a\nb\nC\n", b"b\na\nc\n", b"a\nb\nc\nc\n", b"a\nb\nc"]
)
def test_an_export_that_is_not_the_journal_is_found(exported: bytes) -> None:
    problems = oracle.exports({("f", "r"): exported}, STORED, {("f", "r"): SENT})
    assert found(
        problems, "1 exports that are not what is stored", "1 exports that are not what the journal holds"
    )


def test_a_journal_that_holds_more_than_the_export_is_found() -> None:
    problems = oracle.exports({("f", "r"): b"a\nb\n"}, STORED[:2], {("f", "r"): SENT})
    assert found(problems, "1 exports that are not what the journal holds")


def test_an_export_that_is_missing_is_found() -> None:
    assert found(oracle.exports({}, STORED, {}), "1 exports that are not what is stored")


# What came as frames, with each line end that there is, and as a text.
FRAMED = [
    Stored(event(seq, line)._replace(framed=framed), seq)
    for seq, (line, framed) in enumerate([("a\r\n", True), ("b\n", True), ("c", True), ("d", False)], start=1)
]


@pytest.mark.parametrize(
    ("as_frames", "lines"),
    [(False, ["a", "b", "c", "d"]), (True, ["a\r\n", "b\n", "c", "d\r\n"])],
)
def test_each_generation_gets_frames_and_texts_as_it_has_them(as_frames: bool, lines: list[str]) -> None:
    came = [event(seq, line) for seq, line in enumerate(lines, start=1)]
    assert oracle.delivered("t", [came], FRAMED, as_frames=as_frames) == []


@pytest.mark.parametrize("place", range(4))
def test_a_line_end_too_many_or_too_few_is_found(place: int) -> None:
    for as_frames, lines in ((False, ["a", "b", "c", "d"]), (True, ["a\r\n", "b\n", "c", "d\r\n"])):
        wrong = [*lines]
        wrong[place] = f"{wrong[place]}\n" if place == 2 or not as_frames else wrong[place].rstrip()
        came = [event(seq, line) for seq, line in enumerate(wrong, start=1)]
        problems = oracle.delivered("t", [came], FRAMED, as_frames=as_frames)
        assert found(problems, "1 stored and not delivered", "1 delivered and not what is stored")


def test_a_frame_that_lost_its_line_end_in_the_table_is_found() -> None:
    ledger = Ledger()
    sent = [each.event for each in FRAMED]
    ledger.note_sent(sent)
    assert oracle.stored_once(ledger, FRAMED, []) == []
    altered = [FRAMED[0]._replace(event=sent[0]._replace(line="a")), *FRAMED[1:]]
    assert found(
        oracle.stored_once(ledger, altered, []), "1 sent and not stored", "1 stored and not what was"
    )


def test_an_export_has_frames_without_their_line_ends() -> None:
    sent = [each.event for each in FRAMED]
    assert oracle.exports({("f", "r"): b"a\nb\nc\nd\n"}, FRAMED, {("f", "r"): sent}) == []
    assert oracle.exports({("f", "r"): b"a\r\nb\nc\nd\n"}, FRAMED, {("f", "r"): sent})
