"""What a fanout can be told."""

from dataclasses import dataclass

from shared.runtime.settings import Settings, number, setting

__all__ = ["FanoutSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutSettings(Settings):
    """The common settings, and the pace of delivery that receivers in the field bear (protocol.md, sections 5.5 and
    12.6)."""

    batch_events: int = setting(
        "BATCH_EVENTS",
        number(low=1, high=1000),
        default="100",
        text="reads in one message to a receiver, at the most",
    )
    max_in_flight: int = setting(
        "MAX_IN_FLIGHT",
        number(low=1, high=100_000),
        default="100",
        text="reads that a receiver may have unacked before it is waited for",
    )
    pace_ms: int = setting(
        "PACE_MS",
        number(low=1, high=60_000),
        default="500",
        text="milliseconds that acks of a receiver are waited for that sends none",
    )
    replay_events_per_second: int = setting(
        "REPLAY_EVENTS_PER_SECOND",
        number(low=0, high=1_000_000),
        default="5000",
        text="reads a second at the most to a receiver that catches up; 0: no limit",
    )
    live_events_per_second: int = setting(
        "LIVE_EVENTS_PER_SECOND",
        number(low=0, high=1_000_000),
        default="10000",
        text="reads a second at the most to a receiver that is up to date; 0: no limit",
    )
    second_generation_events_per_second: int = setting(
        "SECOND_GENERATION_EVENTS_PER_SECOND",
        number(low=0, high=1_000_000),
        default="2000",
        text="reads a second at the most to a receiver of the second generation; 0: no limit",
    )
