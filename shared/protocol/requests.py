"""What receivers can ask of the operators' API through their own sockets (protocol.md, section 13): the one registry.

A kind is an entry here and, in the api, a handler (api/proxy/handlers.py). The fanout reads of a request what says
whose answer it is and nothing else: it is handed on as it came, and checked where it is carried out.

Every response has what devices cannot do without, also where it says no: they take an answer without one of these
fields for no answer at all, and let their user wait. Pure: no sockets, no database. What is asked and answered may hold
secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import orjson

from shared.protocol.nested import beginning_of
from shared.protocol.surrogates import without_half_surrogates
from shared.protocol.v1 import Text, UnknownMessage

__all__ = ["KINDS", "NOT_YET", "RESPONSE_BYTES", "Asked", "Kind", "is_proxied", "read_large", "read_request"]

# The largest frame that devices take.
RESPONSE_BYTES: Final = 16 * 1024 * 1024
# What is said to kinds that have no handler.
NOT_YET: Final = "not available yet"


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    name: in rows, metrics and handlers. answered_as: the name in the response's kind, where it is another. fails_with:
    the fields of a response that says no. names_forwarder: every response repeats the forwarder_id of its request.
    """

    name: str
    answered_as: str | None = None
    fails_with: Mapping[str, object] = field(default_factory=dict)
    names_forwarder: bool = False

    @property
    def message(self) -> str:
        """The kind of the message that asks."""
        return f"receiver_proxy_{self.name}_request"

    @property
    def response(self) -> str:
        """The kind of the message that answers."""
        return f"receiver_proxy_{self.answered_as or self.name}_response"


def _by_message(*kinds: Kind) -> dict[str, Kind]:
    return {kind.message: kind for kind in kinds}


# By the kind of the message that asks.
KINDS: Final[Mapping[str, Kind]] = _by_message(
    Kind("config_get", fails_with={"config": None, "restart_needed": False}),
    Kind("config_set", fails_with={"restart_needed": False}),
    Kind("restart", "control"),
    Kind("device_control", "control"),
    Kind("reader_control", fails_with={"reader_info": None}),
    Kind("streams_list", fails_with={"streams": []}),
    Kind("announcer_config_get", "announcer_config", fails_with={"config": None}),
    Kind("announcer_config_set", "announcer_config", fails_with={"config": None}),
    Kind("announcer_reset"),
    Kind("races_list", fails_with={"races": []}),
    Kind("race_create", fails_with={"race": None}),
    Kind("race_delete"),
    Kind("participants_get", fails_with={"participants": [], "chips_without_participant": []}),
    Kind("file_upload", fails_with={"imported": 0}),
    Kind("forwarder_race_get", fails_with={"race_id": None}, names_forwarder=True),
    Kind("forwarder_race_set", fails_with={"race_id": None}, names_forwarder=True),
)


@dataclass(frozen=True)
class Asked:
    """A request of a receiver. request_id: the receiver's own, of any text. forwarder_id: "" where it names none."""

    kind: Kind
    request_id: str
    forwarder_id: str

    def failure(self, error: str) -> bytes:
        """Return the fields of a response that says no, and why."""
        return orjson.dumps({"ok": False, "error": error, **self.kind.fails_with, **self._named})

    def success(self, fields: bytes) -> bytes:
        """Return the fields of a response that says yes, of its own as a JSON object."""
        head = orjson.dumps({"ok": True, "error": None, **self._named})
        return head if fields == b"{}" else head[:-1] + b"," + fields[1:]

    def response(self, fields: bytes) -> bytes:
        """Return the response that holds these fields, a JSON object that is not empty. Large ones are not read."""
        head = orjson.dumps({"kind": self.kind.response, "request_id": self.request_id})
        return head[:-1] + b"," + fields[1:]

    @property
    def _named(self) -> dict[str, str]:
        return {"forwarder_id": self.forwarder_id} if self.kind.names_forwarder else {}


class _Head(msgspec.Struct):
    kind: str
    request_id: Text
    forwarder_id: msgspec.Raw = msgspec.Raw(b'""')


class _Outline(msgspec.Struct):
    """The same of a large message, whatever stands in it."""

    kind: str
    request_id: msgspec.Raw = msgspec.Raw(b"null")
    forwarder_id: msgspec.Raw = msgspec.Raw(b'""')


_head = msgspec.json.Decoder(_Head)
_outline = msgspec.json.Decoder(_Outline)
_text = msgspec.json.Decoder(str)
_id = msgspec.json.Decoder(Text)


def is_proxied(kind: str) -> bool:
    """Whether a message of this kind asks for something here."""
    return kind in KINDS


def read_request(message: bytes) -> Asked | None:
    """Return what a request asks, by one walk through it; None where nobody could be answered: it has no request_id, is
    no JSON or of no kind that we know.
    """
    try:
        head = _head.decode(message)
    except msgspec.ValidationError:
        return None
    except RecursionError:
        return _read_nested(message)
    except (msgspec.DecodeError, UnicodeError):
        # What is wrong elsewhere is told to who asked; by an id that is no text nobody would know the answer.
        mended = without_half_surrogates(message)
        asked = None if mended is None else read_request(mended)
        return None if asked is None or "\N{REPLACEMENT CHARACTER}" in asked.request_id else asked
    kind = KINDS.get(head.kind)
    return None if kind is None else Asked(kind, head.request_id, _forwarder_id(head.forwarder_id))


def read_large(message: bytes) -> Asked | UnknownMessage:
    """Return what a large message asks, or of what kind it is, by one walk through it, which is all the time that there
    is for it; raises what msgspec raises, RecursionError where nobody can say what it is.
    """
    try:
        outline = _outline.decode(message)
    except RecursionError:
        if (asked := _read_nested(message)) is not None:
            return asked
        if (beginning := beginning_of(message)) is not None:
            return UnknownMessage(beginning.kind)
        raise
    unknown = UnknownMessage(outline.kind)
    try:
        request_id = _id.decode(outline.request_id)
    except (msgspec.DecodeError, UnicodeError):  # nobody could be answered
        return unknown
    kind = KINDS.get(outline.kind)
    return Asked(kind, request_id, _forwarder_id(outline.forwarder_id)) if kind else unknown


def _read_nested(message: bytes) -> Asked | None:
    """The same of one that is nested too deep to be walked through: it is refused where it is read whole."""
    beginning = beginning_of(message)
    if beginning is None or beginning.request_id is None or beginning.kind not in KINDS:
        return None
    return Asked(KINDS[beginning.kind], beginning.request_id, "")


def _forwarder_id(raw: msgspec.Raw) -> str:
    """Return what is to be repeated; what is no text is refused where the request is read whole."""
    try:
        return _text.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return ""
