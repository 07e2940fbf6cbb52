"""The table of routes is whole: whatever is needed to describe a route stands in it."""

import inspect
import re

import msgspec
from aiohttp import web

from api.commands.types import Payload
from api.routes import ROUTES


def test_every_placeholder_of_a_path_is_a_field_of_its_type_and_no_other() -> None:
    for route in ROUTES:
        kind = route.inputs.get("path")
        fields = set() if kind is None else set(kind.__struct_fields__)
        assert set(re.findall(r"\{(\w+)\}", route.path)) == fields, route


def test_every_route_says_what_it_does_and_answers() -> None:
    for route in ROUTES:
        assert inspect.getdoc(route.handle), route
        assert (route.status == 204) == (route.answer is type(None)), route
        assert (route.media_type != "application/json") == (route.answer is web.StreamResponse), route


def test_every_type_has_a_schema_and_no_two_share_a_name() -> None:
    kinds = {kind for route in ROUTES for kind in (*route.inputs.values(), route.answer)}
    kinds -= {web.StreamResponse, type(None)}
    references, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    assert len(references) == len(kinds)
    assert all(re.fullmatch(r"[A-Za-z]+", name) for name in components)


def test_requests_refuse_what_they_do_not_know() -> None:
    for route in ROUTES:
        for kind in route.inputs.values():
            # A device's configuration is the one thing that is not ours to know.
            assert repr(kind) == repr(Payload) or kind.__struct_config__.forbid_unknown_fields, kind
