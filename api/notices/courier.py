"""Has one notice sent to targets, by a program of its own (deliver.py), within a time."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from signal import SIGALRM, SIGKILL
from typing import TypeAlias, cast

import orjson

from api.notices.targets import Target
from api.notices.wording import Text
from shared.errors import SettingsError
from shared.wake import Stop

__all__ = ["Answers", "Said", "check", "require_targets", "send"]

PROGRAM = (sys.executable, "-m", "api.notices.deliver")
# What the program gives itself. Where that does not end it, it is ended a little later.
WITHIN_S = 25.0
GRACE_S = 5.0
# A process that stops has ten seconds; what is not known by then is sent again by another.
STOP_WITHIN_S = 3.0
FAILED = "the program that sends it has failed"

# What the program may know of ours: how to reach the world, and nothing secret.
_PASSED_ON = {
    "PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
}  # fmt: skip

# By the names of targets: what is wrong, or None where it is sent.
Said: TypeAlias = Mapping[str, str | None]
Answers: TypeAlias = dict[str, str | None]


async def send(
    targets: Sequence[Target], kind: str, text: Text, *, stop: Stop | None = None, within_s: float = WITHIN_S
) -> Said:
    """Send a notice, and return of each target what is wrong. stop: the process's; of a target that has not answered
    when it ends nothing is said.
    """
    asked = {"kind": kind, "title": text.title, "body": text.body}
    return await _ask(targets, asked, stop or Stop(), within_s)


async def check(targets: Sequence[Target]) -> Said:
    """Return of each target whether its address is one; nothing is sent."""
    return await _ask(targets, {}, Stop(), WITHIN_S)


async def require_targets(targets: Sequence[Target]) -> None:
    """Return if all addresses are some that Apprise knows. SettingsError, which names none of them, if not."""
    if not targets:
        return
    problems = [f"{name}: {problem}" for name, problem in (await check(targets)).items() if problem]
    if problems:
        raise SettingsError([f"ALERT_URLS is wrong: {each}" for each in problems])


async def _ask(targets: Sequence[Target], asked: Mapping[str, str], stop: Stop, within_s: float) -> Said:
    try:
        child = await asyncio.create_subprocess_exec(
            *PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON},
        )
    except OSError:
        # No memory for it, or too many processes: an hour of tries may see the end of that.
        return {name: FAILED for name, _ in targets}
    answers: Answers = {}
    reading = asyncio.create_task(
        _read(child, {**asked, "targets": dict(targets), "within_s": within_s}, answers)
    )
    stopping = asyncio.create_task(_stopped(stop))
    try:
        await asyncio.wait(
            {reading, stopping}, timeout=within_s + GRACE_S, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        # Also where whoever waits for us is cancelled: nothing of it is left. One that has said all ends by itself; a
        # signal would look for its end before asyncio does, which then could not say how it was.
        if not reading.done():
            with suppress(ProcessLookupError):
                child.kill()
        for task in (reading, stopping):
            task.cancel()
        ended_with = await asyncio.shield(child.wait())
    if stop.asked:
        return answers
    late = f"does not answer within {within_s:g} s"
    silent = late if ended_with in (-SIGALRM, -SIGKILL) else FAILED
    return {name: answers.get(name, silent) for name, _ in targets}


async def _stopped(stop: Stop) -> None:
    await stop.wait()
    await asyncio.sleep(STOP_WITHIN_S)


async def _read(child: asyncio.subprocess.Process, asked: Mapping[str, object], answers: Answers) -> None:
    given, said = cast("asyncio.StreamWriter", child.stdin), cast("asyncio.StreamReader", child.stdout)
    # A program that has failed before it read says nothing, which is answer enough.
    with suppress(ConnectionError):
        given.write(orjson.dumps(asked))
        await given.drain()
    given.close()
    async for line in said:
        answer = orjson.loads(line)
        answers[answer["target"]] = answer["problem"]
