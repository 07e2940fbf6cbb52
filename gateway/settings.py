"""What a gateway can be told."""

from dataclasses import dataclass

from shared.settings import Settings, number, setting

__all__ = ["GatewaySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(Settings):
    """The common settings, and the bound of what waits for the database."""

    max_unacked_mib: int = setting(
        "MAX_UNACKED_MIB",
        number(low=1, high=65536),
        default="64",
        text="batches held until they are acked, MiB as received; beyond it we stop reading",
    )
