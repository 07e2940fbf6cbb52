"""The runbook does what it says: every block is run as it stands there, in its order, over the stack that it starts,
while a forwarder sends and a receiver listens; what each block is there for is looked at from outside."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import tests.deploy.runbook.daily
import tests.deploy.runbook.rescue  # noqa: F401 (bring in the checks)
from tests.deploy.runbook.document import BLOCKS, RUNBOOK, Block, blocks
from tests.deploy.runbook.scene import CHECKS, Scene
from tests.deploy.runbook.terminal import Foreground, Terminal
from tests.ports import free_port


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "DATA_DIR": str(tmp_path / "data"),
        "SAVE_DIR": str(tmp_path / "saved"),
        "API_TOKEN": "of operators only",
        "FRONT_DOOR_ADDR": f"127.0.0.1:{free_port()}",
    }
    scene = Scene(environment, Terminal(tmp_path / "typed", environment))
    await scene.terminal.open()
    yield scene
    if hasattr(scene, "race"):
        await scene.race.close()
    await scene.terminal.close()
    if scene.stack is not None:
        assert await scene.stack.interrupt() == 0


async def follow(scene: Scene, each: Block) -> None:
    """Run one block between the two halves of its check."""
    check = CHECKS[each.title](scene)
    await anext(check)
    try:
        if each.kind == "foreground":
            await leave_running(scene, each)
            printed = ""
        else:
            printed = await scene.terminal.run(each.text)
        with suppress(StopAsyncIteration):
            await check.asend(printed)
            raise AssertionError(f"the check of {each.title!r} yields twice")
    except Exception as error:
        error.add_note(f"at the block {each.title!r}")
        raise
    finally:
        await check.aclose()


async def leave_running(scene: Scene, each: Block) -> None:
    """Start what stays, in the terminal where it ran before, if it did."""
    if scene.stack is not None:
        assert await scene.stack.interrupt() == 0
    programs = BLOCKS["local: find our programs, Postgres' own and the data"].text
    scene.stack = await Foreground.start(programs + each.text, scene.environment)
    await scene.stack.until_shown("Ctrl-C stops everything; the data stays", within_s=100)


@pytest.mark.skipif(not shutil.which("curl"), reason="the runbook asks by curl: `apt-get install curl`")
@pytest.mark.timeout(400)
async def test_every_block_does_what_it_says_over_the_stack_that_it_starts(scene: Scene) -> None:
    runnable = [each for each in blocks(RUNBOOK.read_text()) if each.kind != "compose"]
    assert [each.title for each in runnable] == list(dict.fromkeys(each.title for each in runnable))
    assert CHECKS.keys() == {each.title for each in runnable}
    for each in runnable:
        await follow(scene, each)
