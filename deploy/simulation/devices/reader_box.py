"""A reader as its forwarder's control line knows it: its settings, its clock, its memory, and how long things take.

Timing and flaws are those of real ones, seen and not to be mended here:
- A **mute** reader answers nothing: what is asked of it takes seconds and fails, but "how are you" succeeds with what
  was known last.
- `sync_clock`, `clear_records`, `start_download` and `reconnect` are answered **at once** and done later; that a clear
  has failed nobody is told. A clear holds the control line for eleven seconds, and **leaves recording off and the mode
  raw**, whatever it was before.
- Switched on to record, it says that it failed, and records.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

__all__ = ["FIELD", "Outcome", "ReaderBox", "Timing", "UnknownActionError"]


class UnknownActionError(Exception):
    """The action is none that this device knows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a reader takes, in seconds: to answer; to be found mute, asked or set; to set its clock; to clear."""

    answer: float = 0.04
    mute_info: float = 12.0
    mute_set: float = 3.0
    clock: float = 0.7
    clear: float = 11.0


FIELD = Timing()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a forwarder says of an action."""

    success: bool
    error: str | None = None
    info: dict[str, Any] | None = None


@dataclass
class ReaderBox:
    """One reader. stored: how many reads its memory holds; told: called when it has something new to tell by itself;
    download: hands what is stored to the forwarder as if it were read now.
    """

    told: Callable[[], object] = lambda: None
    download: Callable[[], object] = lambda: None
    timing: Timing = FIELD
    linked: bool = True
    mute: bool = False
    mode: tuple[str, int] = ("fsls", 9)
    tto: bool = False
    recording: bool = True
    stored: int = 0
    drift_ms: int = 12
    _line: asyncio.Lock = field(default_factory=asyncio.Lock)  # one exchange at a time
    _later: set[asyncio.Task[None]] = field(default_factory=set)
    _downloading: bool = False

    def info(self) -> dict[str, Any]:
        """Return what the forwarder knows of it: a ReaderInfo. A drift above 0: the reader is behind."""
        clock = datetime.now() - timedelta(milliseconds=self.drift_ms)  # noqa: DTZ005 - a wall clock
        return {
            "banner": "IPICO reader (simulated)",
            "hardware": {"fw_version": "2.4", "hw_code": "0x1", "reader_id": "01"},
            "config": {"mode": self.mode[0], "timeout": self.mode[1]},
            "tto_enabled": self.tto,
            "clock": {"reader_clock": clock.isoformat(timespec="milliseconds"), "drift_ms": self.drift_ms},
            "estimated_stored_reads": self.stored,
            "recording": self.recording,
            "connect_failures": 0,
        }

    async def act(self, action: dict[str, Any]) -> Outcome:
        """Do what is asked, as long as it takes; UnknownActionError."""
        kind = action.get("type")
        act = self._actions().get(str(kind))
        if act is None:
            raise UnknownActionError(str(kind))
        if not self.linked:
            return Outcome(False, "reader not connected")
        return await act(action)

    def _actions(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Outcome]]]:
        return {
            "get_info": self._ask,
            "refresh": self._ask,
            "sync_clock": lambda _: self._at_once(self._sync()),
            "set_read_mode": lambda asked: self._set(mode=(asked["mode"], asked["timeout"])),
            "set_tto": lambda asked: self._set(tto=asked["enabled"]),
            "set_recording": self._set_recording,
            "clear_records": lambda _: self._at_once(self._clear()),
            "start_download": self._start_download,
            "stop_download": lambda _: self._set(_downloading=False),
            "reconnect": lambda _: self._at_once(self._relink()),
        }

    async def _ask(self, _: dict[str, Any]) -> Outcome:
        async with self._line:
            await asyncio.sleep(self.timing.mute_info if self.mute else self.timing.answer)
        return Outcome(True, info=self.info())

    async def _set(self, **settings: object) -> Outcome:
        async with self._line:
            await asyncio.sleep(self.timing.mute_set if self.mute else 2 * self.timing.answer)
            if self.mute:
                return Outcome(False, "timed out waiting for the reader")
            for name, value in settings.items():
                setattr(self, name, value)
        return Outcome(True, info=self.info())

    async def _set_recording(self, asked: dict[str, Any]) -> Outcome:
        outcome = await self._set(recording=asked["enabled"])
        if outcome.success and asked["enabled"]:
            return replace(outcome, success=False, error="unexpected response", info=None)
        return outcome

    async def _start_download(self, _: dict[str, Any]) -> Outcome:
        if self._downloading:
            return Outcome(False, "download already in progress")
        self._downloading = True
        return await self._at_once(self._download())

    async def _at_once(self, later: Any) -> Outcome:
        task = asyncio.ensure_future(later)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        await asyncio.sleep(0)
        return Outcome(True)

    async def _sync(self) -> None:
        await asyncio.sleep(self.timing.clock)
        if not self.mute:
            self.drift_ms = 0
        self.told()

    async def _clear(self) -> None:
        async with self._line:
            await asyncio.sleep(self.timing.clear)
            if not self.mute:
                self.stored, self.recording, self.mode = 0, False, ("raw", 5)
        self.told()

    async def _download(self) -> None:
        await asyncio.sleep(self.timing.answer)
        if self._downloading:
            self.download()
        self._downloading = False

    async def _relink(self) -> None:
        self.linked = False
        self.told()
        await asyncio.sleep(self.timing.answer)
        self.linked = True
        self.told()

    async def close(self) -> None:
        """Lose power."""
        for task in self._later:
            task.cancel()
        if self._later:
            await asyncio.wait(self._later)
