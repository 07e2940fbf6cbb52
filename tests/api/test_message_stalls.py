"""The longest time for which what a receiver asks holds the event loop of an api process (ARCHITECTURE.md, Bounds)."""

import pytest

from api.proxy.answers import Answers
from tests.api.seeds import Database
from tests.api.test_proxy import answered, api, put, running
from tests.stalls import AT_MOST_S, TRIES, stalls

__all__ = ["api", "running"]

# What the fanout takes of a receiver.
BODY_BYTES = 16 * 1024 * 1024
NESTED = b"[" * 900 + b"]" * 900


def ignored(each: bytes) -> bytes:
    """Return the largest body, nearly all of which stands in a field that nobody wants."""
    frame = b'{"x":[%s],"kind":"receiver_proxy_config_get_request","request_id":"q","forwarder_id":"start"}'
    return frame % b",".join([each] * ((BODY_BYTES - len(frame)) // (len(each) + 1)))


@pytest.mark.parametrize("each", [b"[]", NESTED], ids=["small lists", "nested lists"])
async def test_the_largest_request_holds_the_others_for_no_longer_than_one_walk(
    database: Database, running: Answers, each: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = ignored(each)
    for _ in range(TRIES):
        with stalls(monkeypatch) as found:
            await answered(database, await put(database, "config_get", body=body))
        if found.longest_s < AT_MOST_S:
            return
    assert found.longest_s < AT_MOST_S
