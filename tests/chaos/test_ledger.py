"""What the devices know: sent, acked, and forgotten with a journal."""

from tests.chaos.ledger import Event, Ledger


def event(
    seq: int, line: str = "line", *, forwarder_id: str = "f", epoch: int = 1, reader: str = "r"
) -> Event:
    return Event(forwarder_id, reader, epoch, seq, line, "t", "raw")


def test_what_was_sent_is_owed() -> None:
    ledger = Ledger()
    ledger.note_sent([event(1), event(2)])
    assert ledger.owed == {event(1), event(2)}


def test_an_ack_covers_what_was_in_flight_of_its_reader_and_epoch() -> None:
    ledger = Ledger()
    batch = [event(1), event(2), event(3), event(1, epoch=2), event(1, reader="s")]
    ledger.note_acked(batch, reader_ip="r", stream_epoch=1, last_seq=2)
    assert ledger.acked == {event(1), event(2)}
    assert not ledger.unfounded_acks


def test_an_ack_of_what_was_never_sent_is_noted() -> None:
    ledger = Ledger()
    ledger.note_acked([event(1)], reader_ip="r", stream_epoch=1, last_seq=2)
    ledger.note_acked([event(1)], reader_ip="r", stream_epoch=2, last_seq=1)
    assert len(ledger.unfounded_acks) == 2


def test_a_lost_journal_forgives_what_was_not_acked_of_that_device() -> None:
    ledger = Ledger()
    ledger.note_sent([event(1), event(2), event(1, forwarder_id="g")])
    ledger.note_acked([event(1)], reader_ip="r", stream_epoch=1, last_seq=1)
    ledger.note_journal_lost("f")
    assert ledger.owed == {event(1), event(1, forwarder_id="g")}
    assert ledger.without_journal == {"f"}


def test_what_is_sent_under_a_forgotten_number_is_owed() -> None:
    ledger = Ledger()
    ledger.note_sent([event(1)])
    ledger.note_journal_lost("f")
    ledger.note_sent([event(1, "other")])
    assert ledger.owed == {event(1, "other")}
