"""A hall with a screen: people who come in at a finish line that is announced."""

from shared.db.channels import ANNOUNCER, POSITIONS
from tests.api.announcing import add_roster, come_in, finish_line
from tests.api.seeds import add_race
from tests.dashboard.conftest import Stack

__all__ = ["Hall"]

PEOPLE = {
    7: ("Ada", [1, 2]),
    8: ("Maximiliane Theresia von und zu Hohenlohe-Langenburg und", [3]),
    16: ("Alan", [5]),
    33: ("Barbara", [6]),
    402: ("Edsger", [7]),
    1204: ("Grace", [4]),
}


class Hall:
    """A finish line that is announced."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._seq = 0

    async def begin(self, *, size: int = 10) -> None:
        """Have people of a race, a finish line of it, and the announcer enabled for that."""
        database = self.stack.database
        race_id = await add_race(database)
        await add_roster(database, race_id, PEOPLE)
        self.finish = await finish_line(database, race_id=race_id)
        await database.execute(
            "UPDATE announcer SET enabled = true, enabled_until = now() + interval '1 day', max_list_size = $1,"
            " updated_at = clock_timestamp(), run_id = run_id + 1",
            size,
        )
        await database.execute(
            "INSERT INTO announcer_streams SELECT stream_id, 1, stream_epoch, last_position FROM streams"
        )
        await self.notify(ANNOUNCER)

    async def notify(self, channel: str) -> None:
        await self.stack.database.execute("SELECT pg_notify($1, '')", channel)

    async def come_in(self, *chips: int) -> None:
        """Have chips come in."""
        await come_in(self.stack.database, self.finish, chips, first_seq=self._seq + 1)
        self._seq += len(chips)
        await self.notify(POSITIONS)
