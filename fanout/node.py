"""What all sessions of a fanout share."""

from dataclasses import dataclass

from fanout.cursors import Cursors
from fanout.pages import Pages
from fanout.proxy.replies import Replies
from fanout.races import Races
from fanout.settings import FanoutSettings
from fanout.store.reported import Reported, read_reported
from fanout.store.stream_metrics import StreamMetrics, read_metrics
from fanout.tail import Tails
from fanout.updates.devices import say_reported
from fanout.updates.stream_metrics import say_metrics
from fanout.updates.watch import Watch
from shared.db.channels import DEVICES, POSITIONS, SESSIONS
from shared.runtime.process import Process
from shared.transport.acceptor import ACCOUNT_BYTES
from shared.transport.account import Account

__all__ = ["Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """The parts of one fanout, each there once. account: what all its receivers make it hold."""

    process: Process
    settings: FanoutSettings
    tails: Tails
    pages: Pages
    cursors: Cursors
    races: Races
    stream_metrics: Watch[StreamMetrics]
    devices: Watch[Reported]
    replies: Replies
    account: Account

    @classmethod
    def of(cls, process: Process, settings: FanoutSettings) -> "Node":
        """Make the parts, of which nothing runs yet."""
        return cls(
            process,
            settings,
            Tails(process),
            Pages(process),
            Cursors(process),
            Races(process),
            Watch(process, "stream metrics", channels=[POSITIONS], read=read_metrics, say=say_metrics),
            Watch(process, "devices", channels=[DEVICES, SESSIONS], read=read_reported, say=say_reported),
            Replies(process),
            Account(ACCOUNT_BYTES),
        )
