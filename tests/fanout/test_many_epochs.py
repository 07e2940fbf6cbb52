"""A session that begins with a stream of as many epochs as a forwarder may begin: for how long it holds the event loop,
and how much of the node's memory it takes.
"""

import gc
import tracemalloc

import pytest

from fanout.turns import EPOCH_BYTES as COUNTED_BYTES
from fanout.turns import SUBSCRIPTION_BYTES
from gateway.settings import GatewaySettings
from shared.db.connections import Connection
from shared.errors import ProtocolError
from tests.delivery import stored
from tests.fanout.conftest import ref
from tests.fanout.receiving import Receiver, all_begun
from tests.stalls import AT_MOST_S, TRIES, stalls
from tests.waiting import wait_until

EPOCHS = GatewaySettings.read({"database_url": "postgresql:///rt"}).max_epochs
# What is said of it (ARCHITECTURE.md, Bounds), and a fifth for what other versions of Python take.
EPOCH_BYTES = 1_000


@pytest.mark.timeout(120)
async def test_a_session_begins_with_as_many_epochs_as_there_may_be_and_holds_nobody_for_long(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = ref("a")
    receiver.streams[stream] = stream_id = await stored.make_stream(database, "start", "a")
    await stored.store(database, stream_id, [(epoch, 1, b"aa") for epoch in range(1, EPOCHS + 1)])
    await receiver.node.tails.look_up([stream])
    turns = receiver.following.turns
    longest: list[float] = []
    for _ in range(TRIES):
        with stalls(monkeypatch) as found:
            receiver.following.subscribe(stream)
            await receiver.node.tails.look_up([stream])
            await all_begun(receiver)
        assert len(turns.subscriptions[stream].cursor_ids) == EPOCHS
        longest.append(found.longest_s)
        turns.leave()
        turns.subscriptions.clear()
    assert min(longest) < AT_MOST_S
    gc.collect()
    tracemalloc.start()
    receiver.following.subscribe(stream)
    await receiver.node.tails.look_up([stream])
    await all_begun(receiver)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < EPOCHS * EPOCH_BYTES


async def test_what_a_session_follows_is_in_the_account_until_it_ends(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, account = receiver.following.turns, receiver.node.account
    for name in ("a", "b"):
        await receiver.stream(name, 1)
    await all_begun(receiver)
    assert account.kept == 2 * (SUBSCRIPTION_BYTES + COUNTED_BYTES)
    receiver.streams[ref("a")] = await database.fetchval(
        "SELECT stream_id FROM streams WHERE reader_ip = 'a'"
    )
    await stored.store(
        database, receiver.streams[ref("a")], [(7, 1, b"aa")]
    )  # an epoch that begins meanwhile
    await receiver.node.tails.read()
    await wait_until(lambda: account.kept == 2 * SUBSCRIPTION_BYTES + 3 * COUNTED_BYTES)
    turns.restart(ref("a"))  # begins anew with the same epochs
    await wait_until(lambda: not turns.subscriptions[ref("a")].restarts)
    assert account.kept == 2 * SUBSCRIPTION_BYTES + 3 * COUNTED_BYTES
    monkeypatch.setattr(account, "limit", 2 * account.kept - 2)
    with pytest.raises(ProtocolError, match="follow as much as they can"):
        receiver.following.subscribe(ref("c"))
    turns.leave()
    assert (account.kept, account.held) == (0, 0)
