"""What libraries say of themselves: little, unless the level is `trace`."""

import subprocess
import sys

import pytest

SAYS = """
import logging
from shared import log
log.configure(level=LEVEL, form="console")
logging.getLogger("asyncpg.pool").warning("Failed to restore the pool connection floor; retrying", exc_info=True)
logging.getLogger("aiohttp.server").warning("a warning of another")
"""


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", False), ("trace", True)])
def test_the_pool_says_nothing_of_an_outage_that_our_loops_tell(level: str, shown: bool) -> None:
    program = SAYS.replace("LEVEL", repr(level))
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert ("connection floor" in said) is shown
    assert "a warning of another" in said
