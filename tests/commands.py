"""A sample of each kind of command that there is, for the tests that hold of every kind."""

from typing import Any, NamedTuple
from uuid import UUID

__all__ = ["SAMPLES", "Sample"]


class Sample(NamedTuple):
    """request: what stands in the row. sent: what the device must get, beside the request's id. says: its answer,
    beside what all answers have. Both None for what no device answers. ok: what the answer calls it that it was done.
    """

    request: dict[str, Any]
    sent: dict[str, Any] | None = None
    says: dict[str, Any] | None = None
    ok: str = "ok"


SAMPLES = {
    "epoch_reset": Sample(
        {"stream_id": str(UUID(int=1)), "reader_ip": "10.0.0.1:10000", "expected_epoch": 1}
    ),
    "config_get": Sample(
        {}, {"kind": "config_get_request"}, {"config": {"a": [2**70]}, "restart_needed": True}
    ),
    "config_set": Sample(
        {"section": "odd", "payload": {"a": [2**70, "é\u0000", None, 1.5]}},
        {"kind": "config_set_request", "section": "odd", "payload": {"a": [2**70, "é\u0000", None, 1.5]}},
        {"restart_needed": False, "status_code": 409},
    ),
    "restart": Sample({}, {"kind": "restart_request"}, {}),
    "reader_control": Sample(
        {"reader_ip": "10.0.0.1:10000", "action": {"type": "set_read_mode", "mode": "fsls", "timeout": 9}},
        {
            "kind": "reader_control_request",
            "reader_ip": "10.0.0.1:10000",
            "action": {"type": "set_read_mode", "mode": "fsls", "timeout": 9},
        },
        {"reader_ip": "10.0.0.1:10000", "reader_info": {"config": {"mode": "fsls", "timeout": 9}}},
        ok="success",
    ),
}
