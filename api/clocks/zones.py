"""Zones that readers' clocks are set to: names of the IANA database that this machine and the database both know."""

from zoneinfo import available_timezones

from api.clocks.store import zones as store
from shared.db.connections import Statements
from shared.db.errors import DatabaseRefused
from shared.errors import SettingsError

__all__ = ["require_zone", "zone_named"]


def zone_named(text: str) -> str:
    """Return the name of a zone as the tz database writes it, whatever its case; ValueError for what is none."""
    # What this machine is set to has a name here that browsers and databases elsewhere know nothing of.
    known = {each.lower(): each for each in available_timezones() - {"localtime", "Factory"}}
    name = known.get(text.strip().lower())
    if name is None:
        raise ValueError("must be a name of the tz database, like Europe/Berlin")
    return name


async def require_zone(database: Statements, time_zone: str) -> None:
    """Return if the database knows the zone, too: its tz database is another than ours. SettingsError if not."""
    try:
        await store.try_zone(database, time_zone or "UTC")
    except DatabaseRefused as error:
        raise SettingsError(
            [f"TIME_ZONE is wrong: the database does not know the zone {time_zone}"]
        ) from error
