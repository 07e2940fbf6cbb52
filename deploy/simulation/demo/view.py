"""The race as one watches it: a calm live view in a terminal, a plain line now and then anywhere else.

Numbers keep their columns and the view fits 80 of them. It draws what it is given and asks nobody anything.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.simulation.demo.progress import Progress

__all__ = ["draw", "follow", "number", "summary", "table"]

_DRAW_EVERY_S = 0.25
SAY_EVERY_S = 5.0
# Rates are taken over the last two seconds: steady enough to read, quick enough to follow a burst.
_RATE_OVER = 8
_SEVEN_DIGITS = 10_000_000

# Names and widths, with one blank between: 80 characters in all. Negative: no number, stands left.
_STREAM_COLUMNS = [
    ("forwarder", -9),
    ("reader", -13),
    ("ep", 2),
    ("reads", 7),
    ("/s", 4),
    ("acked", 7),
    ("stored", 7),
    ("delivered", 9),
    ("behind", 6),
    ("unacked", 7),
]
_RECEIVER_COLUMNS = [("receiver", -26), ("received", 8), ("/s", 4), ("behind", 6), ("latency ms", 10)]


async def follow(progress: Callable[[], Progress], console: Console) -> None:
    """Show where the race stands until cancelled."""
    await (_draw(progress, console) if console.is_terminal else _say(progress, console))


async def _draw(progress: Callable[[], Progress], console: Console) -> None:
    past = deque([progress()], maxlen=_RATE_OVER)
    with Live(draw(past[0], past[0]), console=console, auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(_DRAW_EVERY_S)
            now = progress()
            live.update(draw(now, past[0]), refresh=True)
            past.append(now)


async def _say(progress: Callable[[], Progress], console: Console) -> None:
    before = progress()
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        now = progress()
        console.print(f"{now.at_s:5.0f} s {summary(now, before)}", highlight=False, soft_wrap=True)
        before = now


def draw(now: Progress, before: Progress) -> Group:
    """Return the whole view; rates are those since `before`."""
    return Group(
        Text(f"{now.phase}, {now.at_s:.0f} s", style="bold"),
        Text(summary(now, before)),
        Text(),
        _streams(now, before),
        Text(),
        _receivers(now, before),
    )


def summary(now: Progress, before: Progress) -> str:
    """Return the totals in one line of 78 characters."""
    rate = _rate(now.total("recorded") - before.total("recorded"), now, before)
    totals = (f"{number(now.total(name)):>7} {name}" for name in ("stored", "delivered", "acked"))
    return f"{rate:>5} reads/s in {' '.join(totals)} {number(now.total('behind')):>6} behind"


def table(*columns: tuple[str, int]) -> Table:
    """Return an empty table: names and widths, a negative width for what is no number and stands left."""
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name, width in columns:
        made.add_column(name, width=abs(width), justify="right" if width > 0 else "left", no_wrap=True)
    return made


def number(count: int) -> str:
    """Return `count` in at most seven characters."""
    return str(count) if count < _SEVEN_DIGITS else f"{count / 1e6:.1f}M"


def _streams(now: Progress, before: Progress) -> Table:
    drawn = table(*_STREAM_COLUMNS)
    for stream, earlier in zip(now.streams, before.streams, strict=True):
        counts = (stream.acked, stream.stored, stream.delivered, stream.behind, stream.unacked)
        drawn.add_row(
            _name(stream.forwarder, stream.connected),
            stream.reader_ip,
            str(stream.epoch),
            number(stream.recorded),
            _rate(stream.recorded - earlier.recorded, now, before),
            *map(number, counts),
        )
    return drawn


def _receivers(now: Progress, before: Progress) -> Table:
    drawn = table(*_RECEIVER_COLUMNS)
    for receiver, earlier in zip(now.receivers, before.receivers, strict=True):
        drawn.add_row(
            _name(receiver.receiver_id, receiver.connected),
            number(receiver.received),
            _rate(receiver.received - earlier.received, now, before),
            number(receiver.behind),
            "-" if receiver.latency_s is None else f"{receiver.latency_s * 1000:.0f}",
        )
    return drawn


def _name(name: str, connected: bool) -> Text:
    return Text(name, style="" if connected else "red")


def _rate(reads: int, now: Progress, before: Progress) -> str:
    passed_s = now.at_s - before.at_s
    return number(round(reads / passed_s)) if passed_s > 0 else "0"
