"""What a reader says of itself, as it is stored: checked, whole, and such that jsonb takes it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.protocol.devices import INFO_BYTES, ReaderInfo, storable_info
from tests.failure.facts import Database
from tests.failure.hostile import ANYTHING

WHOLE: dict[str, Any] = {
    "banner": "ARM9 Controller v4.30",
    "hardware": {"fw_version": "4.30", "hw_code": "0x32", "reader_id": None},
    "config": {"mode": "fsls", "timeout": 9},
    "tto_enabled": False,
    "clock": {"reader_clock": "2026-02-22T10:11:12.340", "drift_ms": -1_234},
    "estimated_stored_reads": 2**32 - 1,
    "recording": True,
    "connect_failures": 255,
}


def stored(info: object) -> Any:
    text = storable_info(msgspec.Raw(msgspec.json.encode(info)))
    return None if text is None else json.loads(text)


def test_an_info_is_stored_whole_without_what_it_does_not_say() -> None:
    del (expected := {**WHOLE, "hardware": {**WHOLE["hardware"]}})["hardware"]["reader_id"]
    assert stored(WHOLE) == expected
    assert stored({**WHOLE, "newer": [1]}) == expected
    assert stored(dict.fromkeys(WHOLE)) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        "text",
        [],
        {"banner": 5},
        {"banner": "x" * 2_001},
        {"hardware": {"fw_version": "x" * 256}},
        {"config": {"timeout": 256}},
        {"clock": {"drift_ms": 2**60}},
        {"clock": {"drift_ms": 0.5}},
        {"estimated_stored_reads": 2**32},
        {"connect_failures": -1},
        {"tto_enabled": "no"},
    ],
)
def test_an_info_that_is_not_right_is_none(wrong: object) -> None:
    assert stored(wrong) is None


def test_an_info_has_a_bound_in_bytes() -> None:
    # Each character becomes six: what is stored is larger than what came.
    assert storable_info(ReaderInfo(banner="\1" * 2_000)) is not None
    assert INFO_BYTES > 6 * 2_000
    texts = dict.fromkeys(("fw_version", "hw_code", "reader_id"), "\x01" * 255)
    assert stored({"banner": "\1" * 2_000, "hardware": texts}) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(info=st.fixed_dictionaries({}, optional=dict.fromkeys(WHOLE, ANYTHING)), banner=st.text())
async def test_whatever_is_stored_is_json_to_the_database(
    database: Database, info: dict[str, Any], banner: str
) -> None:
    for told in (info, {"banner": banner}, {"banner": f"\0{banner}\\u0000"}):
        text = storable_info(msgspec.Raw(json.dumps(told).encode()))
        if text is not None:
            assert await database.fetchval("SELECT $1::text::jsonb IS NOT NULL", text)
