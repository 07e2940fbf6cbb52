"""The devices of a rehearsal: a forwarder for each of the race's, with its readers, and a receiver of each generation.

All are new, and called `rehearsal-` and the number of this run: so their streams are nobody else's, are seen for what
they are, and can be found when they are to be gone (deploy/cli/rehearsals.py).
"""

import secrets
from collections.abc import Sequence
from typing import Any

from deploy.simulation.demo.crew import Crew, sent_by
from deploy.simulation.demo.server import Server
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.newer_receiver import NewerReceiver
from deploy.simulation.devices.receiver import Manners, Receiver
from deploy.simulation.rehearsal.score import Mat

__all__ = ["PREFIX", "assemble", "forwarders_of"]

PREFIX = "rehearsal-"
# Behind the name, which tables have room for.
TITLE = "REHEARSAL"
_BACKOFF_S = (0.5, 4.0)
_RECEIVERS = ("timing", "results")


def forwarders_of(mats: Sequence[Mat]) -> list[str]:
    """Return the forwarders of mats, each once, in their order."""
    return list(dict.fromkeys(mat.forwarder for mat in mats))


async def assemble(server: Server, url: str, mats: Sequence[Mat], manners: Manners) -> Crew:
    """Return the devices, with tokens of their own; ServerError when the server refuses."""
    run = PREFIX + secrets.token_hex(3)
    forwarders = []
    for number, name in enumerate(forwarders_of(mats), 1):
        device_id = f"{run}-{number}"
        forwarders.append(
            Forwarder(
                url=url,
                token=await server.mint_token("forwarder", device_id),
                device_id=device_id,
                readers=[mat.reader_ip for mat in mats if mat.forwarder == name],
                display_name=f"{name} · {TITLE}",
                backoff_s=_BACKOFF_S,
            )
        )
    receivers = []
    for name in _RECEIVERS:
        token = await server.mint_token("receiver", f"{run}-{name}")
        receivers.append(_receiver(url, token, f"{run}-{name}", forwarders, manners))
    return Crew(forwarders, receivers)


def _receiver(
    url: str, token: str, receiver_id: str, forwarders: list[Forwarder], manners: Manners
) -> Receiver:
    streams = [(forwarder.device_id, ip) for forwarder in forwarders for ip in forwarder.readers]
    settings: dict[str, Any] = {
        "url": url,
        "token": token,
        "receiver_id": receiver_id,
        "streams": streams,
        "keep": False,
        "lookup": sent_by(forwarders),
        "manners": manners,
        "latencies_kept": None,
    }
    if receiver_id.endswith(_RECEIVERS[0]):
        return Receiver(**settings)
    return NewerReceiver(earliest_epochs=dict.fromkeys(streams, 1), **settings)
