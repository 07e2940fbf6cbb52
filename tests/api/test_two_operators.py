"""Two operators at once: the second is told what the first has done, and nothing is done twice or silently."""

from typing import Any
from uuid import UUID

from tests.api.answering import entries
from tests.api.conftest import Ask
from tests.api.gateways import CONFIG, RESTART, carrying_out
from tests.api.overviews import add_conflict
from tests.api.seeds import Database, add_cursor, add_stream

TOKENS = "/api/v1/admin/tokens"


class Device:
    """A forwarder with a configuration."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {"upload": {"batch": 50, "wait": 2**70}}

    def __call__(self, kind: str, request: Any) -> tuple[str, object]:
        """Do what is asked."""
        if kind == "config_set":
            self.config[request["section"]] = request["payload"]
        return "done", {"ok": True, "config": self.config, "restart_needed": False}


async def test_of_two_who_change_a_configuration_the_second_overrules_nobody_unseen(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    device = Device()
    async with carrying_out(database_url, device):
        read = (await ask("GET", CONFIG))["fingerprints"]["upload"]
        await ask("POST", f"{CONFIG}/upload?expected={read}", json={"batch": 60})
        error = await ask("POST", f"{CONFIG}/upload?expected={read}", status=409, json={"batch": 70})
        assert "somebody else has changed this section" in error["message"]
        assert device.config["upload"] == {"batch": 60}
        # The order of names is not what a section says, and whoever expects nothing writes as ever.
        device.config["upload"] = {"wait": 1, "batch": 60}
        now = (await ask("GET", CONFIG))["fingerprints"]["upload"]
        device.config["upload"] = {"batch": 60, "wait": 1}
        await ask("POST", f"{CONFIG}/upload?expected={now}", json={"batch": 80})
        await ask("POST", f"{CONFIG}/upload", json={"batch": 90})
    assert device.config["upload"] == {"batch": 90}


async def test_a_restart_is_of_the_session_that_was_looked_at(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    (forwarder,) = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    body = {"expected_connected_at": forwarder["connected_at"]}
    async with carrying_out(database_url, Device()) as came:
        await ask("POST", RESTART, json=body)
        # It has come back.
        await database.execute("UPDATE forwarder_sessions SET connected_at = clock_timestamp()")
        error = await ask("POST", RESTART, status=409, json=body)
        assert "connected anew" in error["message"]
        assert error["details"]["connected_at"] > forwarder["connected_at"]
        await database.execute("DELETE FROM forwarder_sessions")
        await ask("POST", RESTART, status=404, json=body)
    assert [kind for kind, _ in came] == ["restart"]


async def test_of_two_who_name_an_epoch_the_second_is_told(ask: Ask, database: Database) -> None:
    path = f"/api/v1/streams/{await add_stream(database)}/epochs/1/name"

    async def name(name: str | None, expected: str | None, status: int = 200) -> None:
        await ask("PUT", path, status=status, json={"name": name, "expected_name": expected})

    await name("Heat 1", None)
    await name("Heat 2", None, status=409)
    await name(None, None, status=409)
    await name("Heat 1", None)
    await name("Heat 2", "Heat 1")
    await name(None, "Heat 2")
    await name("Heat 3", "Heat 2", status=409)
    await name(None, "Heat 2")
    assert await database.fetchval("SELECT count(*) FROM epoch_names") == 0
    await ask("PUT", path, json={"name": "as ever"})


async def test_what_the_second_finds_done_is_no_second_entry(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    conflict_id = await add_conflict(database, stream_id)
    for _ in range(2):
        await ask("POST", f"/api/v1/conflicts/{conflict_id}/acknowledge", status=204)
    (entry,) = await entries(database, "conflict_acknowledged")
    assert (entry["stream"], entry["stream_epoch"], entry["seq"]) == ("start · 10.0.0.1:10000", 1, 1)


async def test_entries_say_what_they_are_of_in_words(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    stream_id = await add_stream(database)
    await add_cursor(database, "tent", stream_id, last_seq=1)
    for _ in range(2):
        await add_conflict(database, stream_id)
    streams = f"/api/v1/streams/{stream_id}"
    token = await ask("POST", TOKENS, status=201, json={"device_type": "receiver", "device_id": "tent"})
    await ask("POST", f"{TOKENS}/{token['token_id']}/revoke", status=204)
    error = await ask("POST", f"{TOKENS}/{token['token_id']}/revoke", status=404)
    assert "revoked already" in error["message"]
    await ask("PATCH", streams, json={"display_alias": "Finish"})
    await ask("PUT", f"{streams}/epochs/1/name", json={"name": "Heat"})
    await ask("POST", f"{streams}/conflicts/acknowledge")
    await ask("DELETE", f"/api/v1/receivers/tent/cursors/{stream_id}", status=204)
    async with carrying_out(database_url, lambda *_: ("done", {"new_stream_epoch": 2})):
        await ask("POST", f"{streams}/reset-epoch")
    (revoked,) = await entries(database, "token_revoked")
    assert (revoked["device_type"], revoked["device_id"]) == ("receiver", "tent")
    (renamed,) = await entries(database, "stream_renamed")
    assert (renamed["stream"], renamed["display_alias"]) == ("start · 10.0.0.1:10000", "Finish")
    for event in (
        "epoch_named",
        "conflicts_acknowledged",
        "cursors_deleted",
        "epoch_reset_asked",
        "epoch_reset_ended",
    ):
        (entry,) = await entries(database, event)
        assert entry["stream"] == "Finish", event
    assert len(await entries(database, "token_revoked")) == 1
