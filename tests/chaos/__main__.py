"""`python -m tests.chaos --seed N --minutes M`: exit code 0 when every promise was kept."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from random import SystemRandom

import click
import uvloop

from tests.chaos.report import console, write_json
from tests.chaos.run import run


@click.command()
@click.option("--seed", type=int, help="which sequence of faults; a random one if not given")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="how long")
@click.option("--patience", type=float, default=1.0, show_default=True, help="widens the bounds in time")
def main(seed: int | None, minutes: float, patience: float) -> None:
    """Break a whole stack for some minutes, and see that it keeps its promises."""
    seed = SystemRandom().randrange(1_000_000) if seed is None else seed
    say = console()
    say.print(f"chaos: seed {seed}, {minutes:g} minutes")
    data_dir = Path(tempfile.mkdtemp(prefix="rt-chaos-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(run(seed, minutes=minutes, patience=patience, data_dir=data_dir, say=say.print))
    say.print(outcome)
    write_json(outcome)
    if outcome.violations:
        say.print(f"logs: {data_dir / 'logs'}")
        raise SystemExit(1)
    shutil.rmtree(data_dir, ignore_errors=True)


if __name__ == "__main__":
    main()
