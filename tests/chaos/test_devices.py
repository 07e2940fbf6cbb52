"""The watched devices tell the ledger the truth, and fail in the ways that the faults need."""

from random import Random

from tests.chaos.devices import NewerWatchedForwarder, WatchedForwarder, WatchedJournal, number_of
from tests.chaos.ledger import Ledger


def journal(ledger: Ledger, count: int) -> WatchedJournal:
    made = WatchedJournal("f", ledger)
    for number in range(1, count + 1):
        made.append("r", f"aa00{number:012x}", reader_timestamp="t", read_type="raw")
    return made


def test_what_leaves_the_journal_is_sent_and_nothing_else() -> None:
    ledger = Ledger()
    journal(ledger, 3).batch(2)
    assert sorted(event.seq for event in ledger.sent) == [1, 2]


def test_an_ack_is_noted_for_what_is_in_flight() -> None:
    ledger = Ledger()
    sending = journal(ledger, 3)
    sending.batch(2)
    sending.ack("r", 1, 2)
    assert sorted(event.seq for event in ledger.acked) == [1, 2]
    assert sending.newest_acked == 2
    assert [event.seq for event in sending.batch(9)] == [3]


def test_forgotten_cursors_send_everything_again() -> None:
    sending = journal(Ledger(), 3)
    first = sending.batch(9)
    sending.ack("r", 1, 3)
    sending.forget_cursors()
    assert sending.batch(9) == first


def test_a_lost_journal_numbers_from_one_again_and_forgives_the_unacked() -> None:
    ledger = Ledger()
    sending = journal(ledger, 3)
    sending.batch(2)
    sending.wipe()
    assert sorted(event.seq for event in ledger.forgotten) == [1, 2]
    again = sending.append("r", "aa", reader_timestamp="t", read_type="raw")
    assert (again.stream_epoch, again.seq) == (1, 1)


def holding(ledger: Ledger) -> WatchedJournal:
    """A journal that sent 1 and 4 and was acked 4, while it held 2 and 3 back."""
    sending = journal(ledger, 1)
    sending.hold_back("r", 2)
    for number in (2, 3, 4):
        sending.append("r", f"aa00{number:012x}", reader_timestamp="t", read_type="raw")
    assert [event.seq for event in sending.batch(9)] == [1, 4]
    sending.ack("r", 1, 4)
    return sending


def test_what_is_held_back_is_overtaken_and_sent_when_it_is_let_go() -> None:
    ledger = Ledger()
    sending = holding(ledger)
    sending.append("r", f"aa00{5:012x}", reader_timestamp="t", read_type="raw")
    assert (sending.backlog, ledger.late) == (1, set())
    assert sorted(event.seq for event in ledger.acked) == [1, 4]
    sending.let_go()
    assert [event.seq for event in sending.batch(9)] == [2, 3, 5]
    assert {seq for *_, seq in ledger.late} == {2, 3}
    sending.ack("r", 1, 5)
    assert (sending.backlog, sorted(event.seq for event in ledger.acked)) == (0, [1, 2, 3, 4, 5])


def test_what_is_held_back_goes_out_with_everything_where_cursors_are_forgotten() -> None:
    ledger = Ledger()
    sending = holding(ledger)
    sending.forget_cursors()
    assert [event.seq for event in sending.batch(9)] == [1, 2, 3, 4]
    assert {seq for *_, seq in ledger.late} == {2, 3}
    sending.let_go()
    assert sending.backlog == 4


def test_a_journal_that_is_lost_while_it_holds_back_leaves_a_torn_epoch() -> None:
    ledger = Ledger()
    holding(ledger).wipe()
    assert (ledger.torn, ledger.owed) == ({("f", "r", 1)}, ledger.sent)


async def test_a_line_carries_the_number_of_its_read() -> None:
    device = WatchedForwarder(
        url="http://nowhere", token="t", token_id="", device_id="f", readers=["r", "s"], ledger=Ledger()
    )
    random = Random(1)
    for number in range(1, 101):
        device.say(number, random)
    said = [event for reader in device.readers for event in device.journalled(reader)]
    numbers = {number_of(event.line) for event in said}
    assert numbers <= set(range(1, 101))
    assert 70 < len(numbers) < 100  # some lines come once more


def test_what_a_newer_device_sends_is_noted_as_its_bytes() -> None:
    ledger = Ledger()
    sending = WatchedJournal("f", ledger, line_end="\r\n")
    sending.append("r", "aa", reader_timestamp="t", read_type="raw")
    sending.batch(9)
    (sent,) = ledger.sent
    assert (sent.line, sent.framed, sent.text, sent.frame) == ("aa\r\n", True, "aa", "aa\r\n")


def test_a_late_ack_counts_for_what_was_sent_anew() -> None:
    ledger = Ledger()
    sending = WatchedJournal("f", ledger, line_end="")
    for number in (1, 2):
        sending.append("r", f"aa00{number:012x}", reader_timestamp="t", read_type="raw")
    assert sending.batch(9) == sending.batch(9)  # a command came in between
    sending.ack("r", 1, 2)
    sending.append("s", f"aa00{3:012x}", reader_timestamp="t", read_type="raw")
    sending.batch(9)
    sending.ack("r", 1, 2)  # of the second time
    assert sorted(event.seq for event in ledger.acked) == [1, 2]
    assert not ledger.unfounded_acks
    sending.ack("r", 1, 3)
    assert ledger.unfounded_acks


async def test_a_newer_device_is_watched_as_the_first_is() -> None:
    device = NewerWatchedForwarder(
        url="http://nowhere",
        token="t",
        token_id="",
        device_id="f",
        readers=["r"],
        ledger=Ledger(),
        line_end=b"\n",
    )
    device.say(7, Random(1))
    (said,) = device.journalled("r")
    assert (said.framed, said.line[-1], number_of(said.line)) == (True, "\n", 7)
