"""The one registry of commands: what an entry says holds, and nothing else is a command."""

import importlib.util
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import msgspec
import pytest

from shared.protocol import commands
from shared.protocol.commands import KINDS
from shared.protocol.decoding import LARGE_BYTES, decode_forwarder
from tests.commands import SAMPLES

ASKED = [name for name, kind in KINDS.items() if kind.message]


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_request_is_stored_and_read_as_it_was_asked(name: str) -> None:
    kind, sample = KINDS[name], SAMPLES[name]
    request = msgspec.convert(sample.request, kind.request)
    stored = msgspec.json.encode(request)
    assert msgspec.json.decode(stored) == sample.request
    assert msgspec.json.decode(stored, type=kind.request) == request


@pytest.mark.parametrize("name", KINDS)
def test_a_request_with_a_field_more_is_none(name: str) -> None:
    text = msgspec.json.encode({**SAMPLES[name].request, "more": 1})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=KINDS[name].request)


@pytest.mark.parametrize("name", ASKED)
def test_a_device_is_asked_by_the_message_of_its_kind(name: str) -> None:
    kind, sample, request_id = KINDS[name], SAMPLES[name], uuid4()
    request = msgspec.convert(sample.request, kind.request)
    assert sample.sent is not None
    sent = msgspec.json.decode(kind.encode(request_id, request))
    assert sent == {**sample.sent, "request_id": str(request_id)}


@pytest.mark.parametrize("name", ASKED)
def test_the_device_s_answer_is_read_as_the_kind_s_response(name: str) -> None:
    response, says = KINDS[name].response, SAMPLES[name].says
    assert response is not None
    assert says is not None
    tag, ok = response.__struct_config__.tag, SAMPLES[name].ok
    told = {"kind": tag, "request_id": "q", ok: False, "error": "no", **says}
    decoded = decode_forwarder(msgspec.json.encode(told))
    assert type(decoded) is response
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == told


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_beyond_its_bound_is_a_no_of_its_kind(name: str) -> None:
    response = KINDS[name].response
    assert response is not None
    told = {"kind": response.__struct_config__.tag, "request_id": "q", "ok": True, "error": "x" * LARGE_BYTES}
    assert decode_forwarder(msgspec.json.encode(told)) == response(
        "q", ok=False, error=commands.ANSWER_TOO_LARGE
    )


def imported(path: Path, text: str) -> ModuleType:
    """Import the registry with a text more at its end."""
    path.write_text(Path(str(commands.__file__)).read_text() + text)
    spec = importlib.util.spec_from_file_location("commands_of_another_release", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_kind_is_one_entry(tmp_path: Path) -> None:
    entry = """
class IdentifyResponse(Response, tag="identify_response"):
    pass

_registered(Kind("identify", Nothing, "identify_request", IdentifyResponse))
"""
    assert set(imported(tmp_path / "more.py", entry).KINDS) == {*KINDS, "identify"}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('Kind("restart", Nothing, "restart_request", RestartResponse)', "two commands"),
        ('Kind("identify", Nothing, "identify_request")', "has a response"),
        ('Kind("identify", Nothing, None, RestartResponse)', "has a response"),
    ],
)
def test_an_entry_that_is_not_right_fails_at_the_import(tmp_path: Path, entry: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        imported(tmp_path / "wrong.py", f"_registered({entry})\n")
