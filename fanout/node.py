"""What all sessions of a fanout share."""

from dataclasses import dataclass

from fanout.cursors import Cursors
from fanout.pages import Pages
from fanout.settings import FanoutSettings
from fanout.tail import Tails
from shared.runtime.process import Process

__all__ = ["Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """The parts of one fanout, each there once."""

    process: Process
    settings: FanoutSettings
    tails: Tails
    pages: Pages
    cursors: Cursors
