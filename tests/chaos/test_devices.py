"""The watched devices tell the ledger the truth, and fail in the ways that the faults need."""

from random import Random

from tests.chaos.devices import WatchedForwarder, WatchedJournal, number_of
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
