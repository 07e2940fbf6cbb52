"""Puts the writer together: the drain and the inbox's upkeep, on connections of their own.

NOTIFY ─▶ Drain: lock streams ─▶ drain (one statement) ─▶ commit ─▶ NOTIFY
"""

from shared.runtime.liveness import Vitals
from shared.runtime.process import Process
from shared.runtime.settings import Settings
from writer.drain import Drain
from writer.upkeep import Upkeep

__all__ = ["main"]


async def main(settings: Settings) -> None:
    """Run a writer until a signal comes."""
    process = Process(
        "writer",
        settings,
        # What it takes off the inbox, new or not: only a writer that does nothing says that it does nothing.
        counts=("events_stored", "events_retransmitted", "events_conflicting"),
        pool_size=1,
        vitals=lambda: Vitals(commit_ms=drain.commits.usual_ms()),
    )
    drain = Drain(process)
    await process.run(tasks={"drain": drain.run, "upkeep": Upkeep(process).run})
