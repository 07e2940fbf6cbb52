"""What a rule is: all that there is to know of one signal. Each stands in a file of its own, api/alerts/rules/."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from api.alerts.conditions import Bound, Condition, Finding
from shared.db.connections import Connection

__all__ = ["Action", "Rule", "Source", "each", "levels", "plural", "rows"]

Action: TypeAlias = Literal[
    "close_point",
    "close_stream",
    "close_streams",
    "delete_cursors",
    "open_conflicts",
    "open_log",
    "open_stream",
    "open_streams",
    "restart_forwarder",
    "revoke_tokens",
]

F = TypeVar("F")
# Reads facts, in the transaction of a look. Rules that name the same source share what one call has read; it is given
# what each of them wants to see.
Source: TypeAlias = Callable[[Connection, Sequence[str]], Awaitable[Sequence[F]]]


@dataclass(frozen=True)
class Rule(Generic[F]):
    """A signal. findings: what facts say of it, a finding for each key that there is; pure.

    condition: what is wrong, in the words of a list of what is muted: not connected. order: of alerts that began
    together, those of a lower one come first. wanted: which rows of a shared source it has something to say of, in that
    source's SQL. actions: what of its advice can be done where it is read. coalesces: of many findings with the same
    owner one is told. cause: the kind of fault that it shares with other signals (cause.py); empty: its own. unkept:
    what a page finds at a moment that no look at the states can keep, or has found; with one condition, dated, that
    counts at once.
    """

    signal: str
    condition: str
    order: int
    bound: Bound
    source: Source[F]
    findings: Callable[[Sequence[F]], Iterator[Finding]]
    actions: Sequence[Action] = ()
    wanted: str | None = None
    coalesces: bool = False
    cause: str = ""
    unkept: Callable[[F, datetime], Finding | None] | None = None


def rows(statement: str, fact: Callable[..., F]) -> Source[F]:
    """Make a source of a statement without arguments, whose columns are the fields of a fact."""

    async def read(connection: Connection, _wanted: Sequence[str]) -> Sequence[F]:
        return [fact(**row) for row in await connection.fetch(statement)]

    return read


def each(finding: Callable[[F], Finding]) -> Callable[[Sequence[F]], Iterator[Finding]]:
    """Make the findings of a rule that says something of each fact, whatever the others are."""
    return lambda facts: map(finding, facts)


def levels(bound: Bound, reason: Callable[[float], str], since: datetime | None = None) -> list[Condition]:
    """Return that the same is amber and then red, each once it has lasted its time; reason: with that time in it."""
    return [
        Condition("watch", bound.watch_s, reason(bound.watch_s), since),
        Condition("act", bound.act_s, reason(bound.act_s), since),
    ]


def plural(noun: str, count: int) -> str:
    """Return a noun as it stands after a count."""
    return noun if count == 1 else f"{noun}s"
