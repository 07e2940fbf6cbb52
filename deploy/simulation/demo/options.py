"""What a demo may be asked for."""

from dataclasses import dataclass
from pathlib import Path

from deploy.simulation.devices.receiver import FIRST_GENERATION, Manners

__all__ = ["DemoOptions"]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """A race against the server at the base URL `url`; `rate` is the mean of all reads per second.

    Without `seconds` race follows race until cancelled. With a `state_dir` the devices, their tokens and
    journals are kept there, and the next demo goes on with them; without one each run has fresh devices.
    `settle_s` bounds the wait for the last acks and deliveries. The receiver's manners are those of the field.
    """

    url: str
    api_token: str | None = None
    forwarders: int = 3
    readers: int = 2
    rate: float = 60.0
    seconds: float | None = 20.0
    seed: int = 1
    state_dir: Path | None = None
    settle_s: float = 10.0
    manners: Manners = FIRST_GENERATION
