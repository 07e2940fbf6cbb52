"""An array that is decoded in pieces is the array that is decoded at once."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.pieces import pieces


class Element(msgspec.Struct):
    """Something with a text, like a read."""

    text: str


decoder = msgspec.json.Decoder(list[Element])

TEXTS = st.text('{}[],: "\\ax', max_size=8)
IGNORED = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ELEMENTS = st.lists(st.fixed_dictionaries({"text": TEXTS}, optional={"x": IGNORED}), max_size=8)
LAYOUTS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", ":")])


def in_pieces(array: bytes, at_once: int) -> list[Element]:
    return [
        element for some in pieces(memoryview(array), decoder.decode, at_once=at_once) for element in some
    ]


def encoded(elements: list[Any], layout: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps(elements, separators=layout).encode()


@given(elements=ELEMENTS, layout=LAYOUTS, at_once=st.integers(1, 40))
def test_any_array_in_any_pieces(elements: list[Any], layout: tuple[str, str], at_once: int) -> None:
    array = encoded(elements, layout)
    assert in_pieces(array, at_once) == decoder.decode(array)


@given(elements=ELEMENTS, at_once=st.integers(1, 40), wrong=st.integers(0, 8))
def test_an_element_that_is_wrong_is_found(elements: list[Any], at_once: int, wrong: int) -> None:
    elements.insert(wrong := min(wrong, len(elements)), {"text": 5})
    with pytest.raises(msgspec.ValidationError, match="Expected `str`"):
        in_pieces(encoded(elements), at_once)


def test_an_element_in_whose_text_elements_seem_to_end_is_not_decoded_over_and_over() -> None:
    attempts = 0

    def decode(array: bytes) -> list[Element]:
        nonlocal attempts
        attempts += 1
        return decoder.decode(array)

    array = encoded([{"x": ["},{"] * 100_000, "text": ""}, {"text": "b"}])
    assert sum(len(some) for some in pieces(memoryview(array), decode, at_once=100)) == 2
    assert attempts < 100
