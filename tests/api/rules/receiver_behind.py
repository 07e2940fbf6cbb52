"""A receiver that lags by a minute and many events."""

from uuid import UUID

from api.alerts.rules.receiver_behind import flows
from tests.api.watching import flow

SAMPLES = {
    "": flow(500, 60),
    "of many": {
        flows: [one._replace(stream_id=UUID(int=n)) for one in flow(500, 60)[flows] for n in range(30)]
    },
}
ELSEWHERE = ("check (its|the) [a-z']+",)
