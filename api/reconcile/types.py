"""What only a reader's memory has, and what only we have."""

import msgspec

from api.http.types import Answer, Flag, Request, WallClock

__all__ = ["Left", "Missed", "OfMinute", "ReconcileQuery", "Reconciled"]


class ReconcileQuery(Request):
    """store: keep what only the file has, as a stream of its own."""

    store: Flag = "false"


class OfMinute(Answer):
    """A minute of the reader's clock; null: lines that do not say theirs. How many lines the file has, how many we
    have, and how many of them the other has not.
    """

    minute: WallClock | None
    in_file: int
    with_us: int
    only_in_file: int
    only_with_us: int


class Missed(Answer):
    """A line that the file has more often than we; read_at: what it says, if it can be read."""

    line: str
    copies: int
    read_at: WallClock | None


class Left(Answer):
    """Lines that were left to be stored, as a stream of the same forwarder, in the order of the file."""

    lines: int
    forwarder_id: str
    reader_ip: str
    stream_epoch: int


class Reconciled(Answer):
    """A file against what we have of its stream, and of its reader's memory from before (with_us_of_memory of those
    that are with_us; waiting: lines of it that are on their way). passed_over: lines of the file that are no read's.
    minutes: of the file's time; minutes_left_out: how many more there are. missed: the first of what only the file has.
    left: null where nothing was asked to be stored.
    """

    in_file: int
    with_us: int
    with_us_of_memory: int
    waiting: int
    in_both: int
    only_in_file: int
    only_with_us: int
    without_time: int
    passed_over: int
    minutes: list[OfMinute]
    minutes_left_out: int
    missed: list[Missed]
    left: Left | None = msgspec.field(default=None)
