"""What a fanout can be told."""

from dataclasses import dataclass

from shared.settings import Settings, number, setting

__all__ = ["FanoutSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutSettings(Settings):
    """The common settings, and the pace of delivery that receivers in the field bear (protocol.md, section 5.5)."""

    batch_events: int = setting(
        "BATCH_EVENTS", number(low=1, high=1000), default="100", text="events in one message at the most"
    )
    max_in_flight: int = setting(
        "MAX_IN_FLIGHT",
        number(low=1, high=100_000),
        default="100",
        text="events that a receiver may have unacked before we wait for it",
    )
    pace_ms: int = setting(
        "PACE_MS",
        number(low=1, high=60_000),
        default="500",
        text="how long we wait for acks of a receiver that sends none",
    )
    replay_events_per_second: int = setting(
        "REPLAY_EVENTS_PER_SECOND",
        number(low=0, high=1_000_000),
        default="5000",
        text="pace of a receiver that catches up; 0: no pause",
    )
    live_events_per_second: int = setting(
        "LIVE_EVENTS_PER_SECOND",
        number(low=0, high=1_000_000),
        default="10000",
        text="pace of a receiver that is up to date; 0: no pause",
    )
