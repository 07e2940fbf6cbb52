"""Notices in their tables: what is to be told, who sends it, and what became of it.

What is decided (planning.py) is read, planned and written by whoever holds the one row of `notices_turn`; so is the
taking of the next notice. Nothing is held while a notice is under way: its row says who has taken it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from api.notices.planning import AT_MOST, PAUSE, Alert, Facts, Kind, Noticed, Plan, Sent
from api.notices.types import Notice
from api.notices.wording import Line, Text
from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "Outcome",
    "Taken",
    "facts",
    "hold_if_free",
    "is_anything",
    "is_due",
    "lines",
    "newest",
    "note",
    "problem_of",
    "say",
    "take",
    "write",
]

# Ended notices that are kept for the page.
KEPT = 500
SHOWN = 100

_HOLD_IF_FREE = "SELECT only_row FROM notices_turn FOR UPDATE SKIP LOCKED"

_IS_ANYTHING = """
SELECT EXISTS (SELECT FROM troubles WHERE ended_at IS NULL AND level = 'act') OR EXISTS (SELECT FROM noticed_alerts)
       OR EXISTS (SELECT FROM alert_notices WHERE ended_at IS NULL)
"""

# Two minutes are longer than a process gives a notice that it sends (courier.py), and the database to note so.
_LAPSED = """(taken_at < now() - interval '2 minutes'
              OR taken_by NOT IN (SELECT process_id FROM live_processes))"""
_CAN_BE_TAKEN = f"(state = 'due' AND due_at <= now() OR state = 'taken' AND {_LAPSED})"
_IS_DUE = f"SELECT EXISTS (SELECT FROM alert_notices WHERE ended_at IS NULL AND {_CAN_BE_TAKEN})"  # noqa: S608

# Those that are noticed already come first: beyond the bound there is only what nobody is told of.
_ALERTS = f"""
SELECT trouble_id AS alert_id, cause, quiet IS NULL AND eased_at IS NULL AS counts,
       quiet IS NOT DISTINCT FROM 'muted' AS muted,
       quiet IS NOT DISTINCT FROM 'clearing' OR quiet IS NULL AND eased_at IS NOT NULL AS eased
FROM answered_alerts
WHERE ended_at IS NULL AND level = 'act'
ORDER BY trouble_id IN (SELECT alert_id FROM noticed_alerts) DESC, trouble_id
LIMIT {2 * AT_MOST}
"""  # noqa: S608
_NOTICED = """
SELECT now() AS now, noticed.alert_id, noticed.cause, noticed.red_at, noticed.over_at,
       red.notice_id AS red_id, red.state AS red_state, red.reached <> '{}' AS red_reached, red.unsure AS red_unsure,
       coalesce(red.state = 'given_up' AND red.ended_at < last_told_at, false) AS red_outlived,
       said.notice_id AS over_id, said.state AS over_state, said.reached <> '{}' AS over_reached,
       said.unsure AS over_unsure, false AS over_outlived
FROM (SELECT max(told_at) AS last_told_at FROM alert_notices) AS newest
LEFT JOIN noticed_alerts AS noticed ON true
LEFT JOIN alert_notices AS red ON red.notice_id = noticed.red_id
LEFT JOIN alert_notices AS said ON said.notice_id = noticed.over_id
ORDER BY noticed.alert_id
"""
_RECENT = """
SELECT DISTINCT unnest(causes) FROM alert_notices
WHERE ended_at IS NULL AND state = 'taken' OR told_at > now() - $1::interval
"""

_NEW = """
INSERT INTO noticed_alerts (alert_id, cause, title, reason, advice, since)
SELECT trouble_id, cause, title, reason, advice, since FROM answered_alerts WHERE trouble_id = ANY($1)
ON CONFLICT (alert_id) DO NOTHING
"""
_WAIT = "UPDATE noticed_alerts SET red_id = NULL WHERE alert_id = ANY($1)"
_FORGET = "DELETE FROM noticed_alerts WHERE alert_id = ANY($1)"
_OVER = "UPDATE noticed_alerts SET over_at = now() WHERE alert_id = ANY($1)"
_BACK = "UPDATE noticed_alerts SET over_at = NULL WHERE alert_id = ANY($1)"
_LEAVE = "UPDATE noticed_alerts SET over_id = NULL WHERE alert_id = ANY($1)"
_JOIN = """
UPDATE noticed_alerts SET red_id = given.notice_id
FROM unnest($1::bigint[], $2::bigint[]) AS given(alert_id, notice_id)
WHERE noticed_alerts.alert_id = given.alert_id
"""
_MAKE = "INSERT INTO alert_notices (kind) VALUES ($1) RETURNING notice_id"
_TELL: Mapping[Kind, str] = {
    "red": "UPDATE noticed_alerts SET red_id = $1 WHERE alert_id = ANY($2)",
    "over": "UPDATE noticed_alerts SET over_id = $1 WHERE alert_id = ANY($2)",
}
# What nobody has, and nothing is left of.
_DROP = """
UPDATE alert_notices AS notice SET state = 'dropped', ended_at = now()
WHERE ended_at IS NULL AND state = 'due' AND reached = '{}' AND NOT unsure
  AND NOT EXISTS (SELECT FROM noticed_alerts WHERE red_id = notice.notice_id OR over_id = notice.notice_id)
RETURNING notice_id
"""
# What some have, and the others need not get any more: that it is red, when it is over, and that it is over, when there
# is more. Else it would come to them behind its end.
_SETTLE = """
UPDATE alert_notices AS notice SET state = 'sent', ended_at = now()
WHERE ended_at IS NULL AND state = 'due' AND reached <> '{}'
  AND CASE kind
      WHEN 'red' THEN NOT EXISTS (SELECT FROM noticed_alerts WHERE red_id = notice.notice_id AND over_at IS NULL)
      ELSE EXISTS (SELECT FROM noticed_alerts WHERE cause = ANY(notice.causes)) END
"""

# One at a time: while one is under way nobody takes another. What was never tried goes first, so that what an address
# does not take keeps nothing back. Who finds one taken by a process that is gone cannot know whether it has been sent.
_TAKE = f"""
UPDATE alert_notices
SET unsure = unsure OR state = 'taken', state = 'taken', taken_at = now(), taken_by = $1, tries = tries + 1
WHERE notice_id = (SELECT notice_id FROM alert_notices WHERE ended_at IS NULL AND {_CAN_BE_TAKEN}
                   ORDER BY tries, notice_id LIMIT 1)
  AND NOT EXISTS (SELECT FROM alert_notices WHERE ended_at IS NULL AND state = 'taken' AND NOT {_LAPSED})
RETURNING notice_id, kind, made_at, tries, title, body, reached, unsure
"""  # noqa: S608
_LINES = """
SELECT noticed.cause, coalesce(alert.title, noticed.title) AS title,
       CASE WHEN $2 THEN coalesce(alert.reason, noticed.reason) ELSE noticed.reason END AS reason,
       noticed.advice, noticed.since, noticed.over_at
FROM noticed_alerts AS noticed LEFT JOIN troubles AS alert ON alert.trouble_id = noticed.alert_id
WHERE CASE WHEN $2 THEN noticed.red_id ELSE noticed.over_id END = $1
ORDER BY noticed.since, noticed.alert_id
"""
_SAY = "UPDATE alert_notices SET title = $2, body = $3, causes = $4 WHERE notice_id = $1"
# Only by who has it: after two minutes it may be another's, who says himself what became of it.
_NOTE = """
UPDATE alert_notices
SET reached = reached || $3::text[], told_at = CASE WHEN $3 = '{}'::text[] THEN told_at ELSE now() END, problem = $4,
    state = $5, due_at = now() + $6::interval, ended_at = CASE WHEN $5 <> 'due' THEN now() END
WHERE notice_id = $1 AND taken_by = $2 AND state = 'taken'
RETURNING reached <> '{}' OR ended_at IS NOT NULL AS told
"""
# That it is over has been told, or never will be: nothing more is to be told of it.
_DONE = "DELETE FROM noticed_alerts WHERE over_id = $1"
_FORGET_NOTICES = """
DELETE FROM alert_notices
WHERE ended_at <= (SELECT ended_at FROM alert_notices WHERE ended_at IS NOT NULL
                   ORDER BY ended_at DESC OFFSET $1 LIMIT 1)
  AND NOT EXISTS (SELECT FROM noticed_alerts WHERE red_id = notice_id OR over_id = notice_id)
"""
# What this process could not send, until it or another can.
_PROBLEM = """
SELECT problem FROM alert_notices AS failed
WHERE taken_by = $1 AND problem IS NOT NULL
  AND (ended_at IS NULL OR state = 'given_up' AND ended_at > now() - interval '1 day')
  AND NOT EXISTS (SELECT FROM alert_notices AS later WHERE later.state = 'sent' AND later.told_at > failed.taken_at)
ORDER BY notice_id DESC LIMIT 1
"""
_NEWEST = f"""
SELECT {", ".join(Notice.__struct_fields__)} FROM alert_notices ORDER BY notice_id DESC LIMIT {SHOWN}
"""  # noqa: S608


class Taken(NamedTuple):
    """A notice that this process sends. fixed: somebody has it, or may have it: it is sent as it was."""

    notice_id: int
    kind: Kind
    made_at: datetime
    tries: int
    title: str | None
    body: str | None
    reached: Sequence[str]
    unsure: bool
    now: datetime

    @property
    def fixed(self) -> bool:
        """Whether it is sent again as it was."""
        return self.title is not None and (self.unsure or bool(self.reached))


class Outcome(NamedTuple):
    """What became of a try. reached: who has taken it. again_after: how much later it is tried again, where it is."""

    notice_id: int
    reached: Sequence[str]
    problem: str | None
    state: str
    again_after: timedelta = timedelta(0)


async def hold_if_free(connection: Transaction) -> bool:
    """Take the turn, for as long as the transaction lasts; false when another has it."""
    with translated():
        return await connection.fetchval(_HOLD_IF_FREE) is not None


async def facts(connection: Statements) -> Facts:
    """Return what a plan is made of."""
    with translated():
        alerts = [Alert(**row) for row in await connection.fetch(_ALERTS)]
        rows = await connection.fetch(_NOTICED)
        recent = frozenset(row[0] for row in await connection.fetch(_RECENT, PAUSE))
    noticed = [_noticed(dict(row)) for row in rows if row["alert_id"] is not None]
    return Facts(rows[0]["now"], alerts, noticed, recent)


def _noticed(row: Mapping[str, Any]) -> Noticed:
    def sent(which: str) -> Sent | None:
        if row[f"{which}_id"] is None:
            return None
        return Sent(*(row[f"{which}_{name}"] for name in ("id", *Sent._fields[1:])))

    return Noticed(row["alert_id"], row["cause"], row["red_at"], sent("red"), row["over_at"], sent("over"))


async def write(connection: Transaction, plan: Plan) -> int:
    """Write what is planned, by whoever has the turn; return how many notices were dropped."""
    with translated():
        for statement, alerts in (
            (_NEW, [each.alert_id for each in plan.new]),
            (_FORGET, plan.forget),
            (_WAIT, plan.wait),
            (_OVER, plan.over),
            (_BACK, plan.back),
            (_LEAVE, plan.leave),
        ):
            if alerts:
                await connection.execute(statement, alerts)
        if plan.join:
            await connection.execute(_JOIN, list(plan.join), list(plan.join.values()))
        told: tuple[tuple[Kind, list[int]], ...] = (("red", plan.red), ("over", plan.ended))
        for kind, alerts in told:
            if alerts:
                await connection.execute(_TELL[kind], await connection.fetchval(_MAKE, kind), alerts)
        await connection.execute(_SETTLE)
        return len(await connection.fetch(_DROP))


async def is_anything(connection: Statements) -> bool:
    """Whether there is anything to tell, or was until now."""
    with translated():
        return bool(await connection.fetchval(_IS_ANYTHING))


async def is_due(connection: Statements) -> bool:
    """Whether a notice can be taken."""
    with translated():
        return bool(await connection.fetchval(_IS_DUE))


async def take(connection: Transaction, process_id: UUID) -> Taken | None:
    """Take the next notice that is due, by whoever has the turn; None when there is none, or one is under way."""
    with translated():
        row = await connection.fetchrow(_TAKE, process_id)
        if row is None:
            return None
        return Taken(**row, now=await connection.fetchval("SELECT now()"))


async def lines(connection: Transaction, taken: Taken) -> tuple[Sequence[Line], Sequence[str]]:
    """Return the alerts that a notice tells of now, and their causes."""
    with translated():
        rows = [dict(row) for row in await connection.fetch(_LINES, taken.notice_id, taken.kind == "red")]
    causes = sorted({row.pop("cause") for row in rows})
    return [Line(**row) for row in rows], causes


async def say(connection: Transaction, notice_id: int, text: Text, causes: Sequence[str]) -> None:
    """Keep what is sent, before it is: whoever must send it again sends the same."""
    with translated():
        await connection.execute(_SAY, notice_id, *text, causes)


async def note(connection: Transaction, process_id: UUID, outcome: Outcome) -> None:
    """Note what became of a notice that this process has taken."""
    with translated():
        told = await connection.fetchval(
            _NOTE,
            outcome.notice_id,
            process_id,
            outcome.reached,
            outcome.problem,
            outcome.state,
            outcome.again_after,
        )
        if told:
            await connection.execute(_DONE, outcome.notice_id)
        await connection.execute(_FORGET_NOTICES, KEPT)


async def problem_of(connection: Statements, process_id: UUID) -> str | None:
    """Return what keeps the notices of this process from getting through, if anything does."""
    with translated():
        problem: str | None = await connection.fetchval(_PROBLEM, process_id)
    return problem


async def newest(connection: Statements) -> list[Notice]:
    """Return the newest notices, as operators see them."""
    with translated():
        return [Notice(**row) for row in await connection.fetch(_NEWEST)]
