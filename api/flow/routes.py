"""Who came by the points of a race over time."""

from api.flow.flows import Flows
from api.flow.types import RaceFlow
from api.http.context import Api
from api.races.rosters import no_race
from api.races.types import RacePath

__all__ = ["show_flow"]


async def show_flow(api: Api, *, path: RacePath) -> RaceFlow:
    """Show who came by each point of a race over time, in bins; what was counted some seconds ago may be answered."""
    found = await api.part(Flows).of(path.race_id)
    if found is None:
        raise no_race()
    return found
