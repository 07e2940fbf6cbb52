"""What receivers ask through their sockets: whose answer it is, and what every answer must hold."""

import json

import pytest

from shared.protocol.proxies import KINDS, Asked, Kind, read_request


def request(name: str, **fields: object) -> bytes:
    return json.dumps({"kind": f"receiver_proxy_{name}_request", "request_id": "q", **fields}).encode()


def asked(name: str, **fields: object) -> Asked:
    found = read_request(request(name, **fields))
    assert found is not None
    return found


def test_a_request_is_known_by_its_kind_and_the_receivers_own_id() -> None:
    found = asked("config_get", forwarder_id="start", more=[1, {"a": None}])
    assert (found.kind.name, found.request_id, found.forwarder_id) == ("config_get", "q", "start")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b'{"kind": "receiver_proxy_config_get_request"}',
        b'{"kind": "receiver_proxy_config_get_request", "request_id": 1}',
        b'{"kind": "receiver_proxy_config_get_request", "request_id": null}',
        request("config_get") + b"}",
        json.dumps(
            {"kind": "receiver_proxy_config_get_request", "request_id": 256 * "x", "forwarder_id": "f"}
        ).encode(),
        request("firmware_set"),
        b'{"kind": "receiver_proxy_config_get_response", "request_id": "q"}',
    ],
)
def test_nobody_could_be_answered(message: bytes) -> None:
    assert read_request(message) is None


@pytest.mark.parametrize("request_id", ["", "x" * 255, '"\\\u0000\u2028é\U0001f3c1'])
def test_any_text_is_an_id_and_comes_back(request_id: str) -> None:
    found = read_request(
        json.dumps({"kind": "receiver_proxy_restart_request", "request_id": request_id}).encode()
    )
    assert found is not None
    answer = json.loads(found.response(found.success(b"{}")))
    assert answer == {
        "kind": "receiver_proxy_control_response",
        "request_id": request_id,
        "ok": True,
        "error": None,
    }


# protocol-v12's own table: each kind of response, and what a client cannot parse one without.
NEEDED: dict[str, tuple[str, dict[str, object]]] = {
    "config_get": ("config_get", {"config": None, "restart_needed": False}),
    "config_set": ("config_set", {"restart_needed": False}),
    "restart": ("control", {}),
    "device_control": ("control", {}),
    "reader_control": ("reader_control", {"reader_info": None}),
    "streams_list": ("streams_list", {"streams": []}),
    "announcer_config_get": ("announcer_config", {"config": None}),
    "announcer_config_set": ("announcer_config", {"config": None}),
    "announcer_reset": ("announcer_reset", {}),
    "races_list": ("races_list", {"races": []}),
    "race_create": ("race_create", {"race": None}),
    "race_delete": ("race_delete", {}),
    "participants_get": ("participants_get", {"participants": [], "chips_without_participant": []}),
    "file_upload": ("file_upload", {"imported": 0}),
    "forwarder_race_get": ("forwarder_race_get", {"forwarder_id": "f", "race_id": None}),
    "forwarder_race_set": ("forwarder_race_set", {"forwarder_id": "f", "race_id": None}),
}


@pytest.mark.parametrize("name", NEEDED)
def test_a_no_has_every_field_that_its_receiver_needs(name: str) -> None:
    response, fields = NEEDED[name]
    found = asked(name, forwarder_id="f")
    assert json.loads(found.response(found.failure("why not"))) == {
        "kind": f"receiver_proxy_{response}_response",
        "request_id": "q",
        "ok": False,
        "error": "why not",
        **fields,
    }


def test_there_are_no_other_kinds() -> None:
    assert {kind.name for kind in KINDS.values()} == NEEDED.keys()


@pytest.mark.parametrize("forwarder_id", [7, None, ["f"], {"a": 1}])
def test_a_forwarder_that_is_no_text_is_named_as_one_without_a_name(forwarder_id: object) -> None:
    found = asked("forwarder_race_get", forwarder_id=forwarder_id)
    assert json.loads(found.failure("no"))["forwarder_id"] == ""


def test_a_yes_has_its_own_fields_and_the_forwarder_where_it_is_named() -> None:
    found = asked("forwarder_race_get", forwarder_id="f")
    assert json.loads(found.response(found.success(b'{"race_id":"r"}'))) == {
        "kind": "receiver_proxy_forwarder_race_get_response",
        "request_id": "q",
        "ok": True,
        "error": None,
        "forwarder_id": "f",
        "race_id": "r",
    }


def test_an_answer_is_handed_on_without_being_read() -> None:
    found = Asked(Kind("x"), "q", "")
    assert found.response(b"{ not looked at") == (
        b'{"kind":"receiver_proxy_x_response","request_id":"q", not looked at'
    )
