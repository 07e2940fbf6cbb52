"""deploy/docs/protocol.md, section 13: what receivers may ask is what the code knows, with the fields of a no."""

import json

import pytest

from fanout.proxy import requests
from shared.protocol.requests import KINDS, RESPONSE_BYTES, Kind
from tests.deploy.pages import PROTOCOL, sections, table

SECTION = sections(PROTOCOL.read_text())["13"][1]
ROWS = {name.strip("`"): rest for name, *rest in table(SECTION, "X")}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_kind_is_told_as_it_is(kind: Kind) -> None:
    asks, answered_as, holds, refused = ROWS[kind.name]
    fields, _, named = refused.partition("`, and ")
    assert f"receiver_proxy_{answered_as.strip('`')}_response" == kind.response
    assert json.loads(fields.strip("`")) == kind.fails_with
    assert (named == "forwarder_id") == kind.names_forwarder
    assert all(each in holds for each in kind.fails_with)
    assert ("forwarder_id" in asks) or not kind.names_forwarder


def test_no_kind_is_told_that_is_none() -> None:
    assert ROWS.keys() == {kind.name for kind in KINDS.values()}


def test_bounds_are_those_of_the_code() -> None:
    assert f"| requests of a session at once | {requests.AT_ONCE} |" in SECTION
    assert f"| an answer | {requests.ANSWER_WITHIN_S:.0f} s |" in SECTION
    assert f"| a response | {RESPONSE_BYTES >> 20} MiB |" in SECTION
