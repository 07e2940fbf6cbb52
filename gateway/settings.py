"""What a gateway can be told."""

from dataclasses import dataclass

from shared.runtime.settings import Settings, choice, number, setting

__all__ = ["GatewaySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(Settings):
    """The common settings, and the bounds of what a forwarder may make us keep."""

    max_unacked_mib: int = setting(
        "MAX_UNACKED_MIB",
        number(low=1, high=65536),
        default="64",
        text="MiB of reads that a gateway holds until they are stored; beyond that it reads no more, and devices wait",
    )
    max_readers: int = setting(
        "MAX_READERS",
        number(low=1, high=10_000),
        default="256",
        text="readers that a forwarder may have; reads of more than that stay in the forwarder",
    )
    max_epochs: int = setting(
        "MAX_EPOCHS",
        number(low=1, high=1_000_000),
        default="5000",
        text="epochs that a forwarder may begin, of all its readers; reads of more than that stay in the forwarder",
    )
    clock_kept: bool = setting(
        "CLOCK_KEPT",
        lambda text: choice("ask", "yes")(text or "ask") == "yes",
        default="ask",
        text="whether somebody keeps the clock of a gateway's machine: ask its kernel, or yes where it cannot know",
    )
