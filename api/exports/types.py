"""What exports can be asked for."""

from api.events.types import EpochFilter, EventFilter
from api.http.types import Flag

__all__ = ["CsvQuery", "EpochCsvQuery"]


class CsvQuery(EventFilter):
    """Which events; participants: with `bib,last_name,first_name` behind each, empty where nobody knows; corrected:
    with `corrected_at` behind all, when it was really made, empty where nobody knows.
    """

    participants: Flag = "false"
    corrected: Flag = "false"


class EpochCsvQuery(EpochFilter):
    """Which events of an epoch; participants: with `bib,last_name,first_name` behind each, empty where nobody knows;
    corrected: with `corrected_at` behind all, when it was really made, empty where nobody knows.
    """

    participants: Flag = "false"
    corrected: Flag = "false"
