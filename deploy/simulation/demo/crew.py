"""The devices of a demo: their names, tokens and journals, fresh or as the last demo left them.

Identities carry the run's own number, so that no two demos ever share a stream. Kept ones are kept with their
tokens, for this user's eyes only.
"""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.simulation.demo.options import DemoOptions
from deploy.simulation.demo.race import forwarder_names, reader_ip
from deploy.simulation.demo.server import Server
from deploy.simulation.devices.arrivals import Arrivals
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Event, Journal
from deploy.simulation.devices.newer_forwarder import NewerForwarder
from deploy.simulation.devices.newer_receiver import NewerReceiver
from deploy.simulation.devices.receiver import Lookup, Receiver

__all__ = ["Crew", "assemble", "sent_by"]

_STATE_FILE = "devices.json"
# Shorter than in the field: people watch a demo and wait for it to come back.
_BACKOFF_S = (0.5, 4.0)
# Receivers, each of one generation: the first, and the second.
_RECEIVERS = ("timing", "results")
_BATTERY = {
    "battery_percent": 93,
    "battery_voltage_mv": 12_600,
    "charging": False,
    "power_plugged": True,
    "temperature_cdeg": 2_450,
}


@dataclass
class Crew:
    """The forwarders from the first mat to the last, and the receivers of them all; both of either generation."""

    forwarders: list[Forwarder]
    receivers: list[Receiver]

    def streams(self) -> list[tuple[Forwarder, str]]:
        """Return every forwarder with each of its readers."""
        return [(forwarder, ip) for forwarder in self.forwarders for ip in forwarder.readers]

    def close(self) -> None:
        """Release the journals."""
        for forwarder in self.forwarders:
            forwarder.journal.close()
        for receiver in self.receivers:
            receiver.arrivals.close()


@dataclass
class _Roll:
    """Who takes part: the run's own number, and the token of each device_id."""

    run: str = field(default_factory=lambda: secrets.token_hex(3))
    tokens: dict[str, str] = field(default_factory=dict)

    def device_id(self, name: str) -> str:
        return f"demo-{self.run}-{name.lower().replace(' ', '-')}"


async def assemble(server: Server, options: DemoOptions) -> Crew:
    """Return the devices with their tokens, minting what is missing; ServerError when the server refuses."""
    names = forwarder_names(options.forwarders)
    roll = await _call_roll(server, options.state_dir)
    devices = [*(("forwarder", name) for name in names), *(("receiver", name) for name in _RECEIVERS)]
    for device_type, name in devices:
        device_id = roll.device_id(name)
        if device_id not in roll.tokens:
            roll.tokens[device_id] = await server.mint_token(device_type, device_id)
    if options.state_dir is not None:
        _keep(roll, options.state_dir)
    forwarders = [_forwarder(options, roll, place, name) for place, name in enumerate(names)]
    return Crew(forwarders, [_receiver(options, roll, name, forwarders) for name in _RECEIVERS])


async def _call_roll(server: Server, state_dir: Path | None) -> _Roll:
    roll = _kept_roll(state_dir)
    if roll.tokens and not roll.tokens.keys() <= await server.device_ids():
        # The server was wiped, or is another one: what these journals call acked is not there.
        return _Roll()
    return roll


def _kept_roll(state_dir: Path | None) -> _Roll:
    if state_dir is None:
        return _Roll()
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = state_dir / _STATE_FILE
    return _Roll(**json.loads(kept.read_text())) if kept.exists() else _Roll()


def _keep(roll: _Roll, state_dir: Path) -> None:
    written = state_dir / f"{_STATE_FILE}.new"
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"run": roll.run, "tokens": roll.tokens}, file)
    written.replace(state_dir / _STATE_FILE)
    for left_over in set(state_dir.glob("demo-*")) - set(state_dir.glob(f"demo-{roll.run}-*")):
        left_over.unlink()


def _forwarder(options: DemoOptions, roll: _Roll, place: int, name: str) -> Forwarder:
    """Return the forwarder of a mat; every second one is of the second generation, and has a battery."""
    device_id = roll.device_id(name)
    settings: dict[str, Any] = {
        "url": options.url,
        "token": roll.tokens[device_id],
        "device_id": device_id,
        "readers": [reader_ip(place, reader) for reader in range(options.readers)],
        "journal": Journal(_kept_file(options, device_id)),
        "display_name": name,
        "backoff_s": _BACKOFF_S,
    }
    return NewerForwarder(battery=_BATTERY, **settings) if place % 2 else Forwarder(**settings)


def _receiver(options: DemoOptions, roll: _Roll, name: str, forwarders: list[Forwarder]) -> Receiver:
    device_id = roll.device_id(name)
    arrivals = Arrivals(_kept_file(options, device_id))
    streams = [(forwarder.device_id, ip) for forwarder in forwarders for ip in forwarder.readers]
    settings: dict[str, Any] = {
        "url": options.url,
        "token": roll.tokens[device_id],
        "receiver_id": device_id,
        "streams": streams,
        # What it was acked and never got, because that demo was killed, it would miss for ever.
        "resume": {epoch: each.through for epoch, each in arrivals.epochs.items()},
        "keep": False,
        "lookup": sent_by(forwarders),
        "arrivals": arrivals,
        "manners": options.manners,
    }
    if name == _RECEIVERS[0]:
        return Receiver(**settings)
    return NewerReceiver(earliest_epochs=dict.fromkeys(streams, 1), **settings)


def sent_by(forwarders: Sequence[Forwarder]) -> Lookup:
    """Return what says which read these forwarders have sent under an identity."""
    journals = {forwarder.device_id: forwarder.journal for forwarder in forwarders}

    def sent(forwarder_id: str, reader_ip: str, stream_epoch: int, seq: int) -> Event | None:
        journal = journals.get(forwarder_id)
        return None if journal is None else journal.find(reader_ip, stream_epoch, seq)

    return sent


def _kept_file(options: DemoOptions, device_id: str) -> Path | None:
    return None if options.state_dir is None else options.state_dir / f"{device_id}.sqlite"
