"""A receiver as it is in the field loses nothing, though it acks before it has passed a read on, and reads nothing at
first.

Twenty catch-ups of twenty thousand reads beside busy processes are a measurement: `python -m tests.bench field`.
"""

import asyncio

from deploy.simulation.devices.receiver import Manners, Receiver
from shared.db.connections import Connection
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START
from tests.services import Process
from tests.waiting import wait_until

HAD, MISSED = 200, 2_000
# Long enough for several messages, if they were sent to who neither acks nor answers a ping.
UNRESPONSIVE = Manners(unresponsive_s=1.2)


async def test_a_receiver_that_was_away_gets_all_that_it_missed(
    fanout: Process, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, HAD + MISSED)
    epoch = (*START, 1)
    tent = Receiver(url=fanout.url, token=token, streams=[START], resume={epoch: HAD}, manners=UNRESPONSIVE)
    connection = asyncio.ensure_future(tent.run())
    # Whatever was dropped came before the last.
    await wait_until(
        lambda: tent.events[epoch][-1:] and tent.events[epoch][-1][0] == HAD + MISSED, what="the last"
    )
    assert (tent.received, tent.dropped) == (MISSED, 0)
    # Live, and a thousand at once.
    await store(
        database, stream, [(1, seq, b"live") for seq in range(HAD + MISSED + 1, HAD + MISSED + 1_001)]
    )
    await wait_until(lambda: tent.events[epoch][-1][0] == HAD + MISSED + 1_000, what="the last live one")
    assert (tent.received, tent.dropped) == (MISSED + 1_000, 0)
    await tent.stop()
    await connection
