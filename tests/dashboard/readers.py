"""What newer forwarders tell of their readers and batteries, as their gateways would have written it."""

import json
from typing import Any

from tests.dashboard.conftest import Stack

__all__ = ["INFO", "STATUS", "tell_battery", "tell_reader"]

INFO: dict[str, Any] = {
    "banner": "ARM9 Controller",
    "hardware": {"fw_version": "3.09", "hw_code": "0x07", "reader_id": "00"},
    "config": {"mode": "event", "timeout": 5},
    "tto_enabled": False,
    "clock": {"reader_clock": "2026-05-03T10:40:00.125", "drift_ms": 1500},
    "estimated_stored_reads": 4116,
    "recording": True,
    "connect_failures": 2,
}
STATUS: dict[str, Any] = {
    "battery_percent": 87,
    "battery_voltage_mv": 4012,
    "charging": True,
    "power_plugged": True,
    "temperature_cdeg": 2950,
    "sampled_at": 1777797602508,
}

_READER = """
INSERT INTO reader_states (forwarder_id, reader_ip, session_id, connected, state, reader_info, info_at, version)
SELECT forwarder_id, $2, session_id, $3, CASE WHEN $3 THEN 'connected' ELSE 'disconnected' END, $4, now(),
       nextval('device_version')
FROM forwarder_sessions WHERE forwarder_id = $1
ON CONFLICT (forwarder_id, reader_ip) DO UPDATE
SET connected = excluded.connected, state = excluded.state, reader_info = excluded.reader_info,
    changed_at = now(), version = excluded.version
"""
_BATTERY = """
INSERT INTO forwarder_ups (forwarder_id, session_id, available, status, version)
SELECT forwarder_id, session_id, $2, $3, nextval('device_version') FROM forwarder_sessions WHERE forwarder_id = $1
ON CONFLICT (forwarder_id) DO UPDATE
SET available = excluded.available, status = excluded.status, received_at = now(), version = excluded.version
"""


async def tell_reader(
    stack: Stack, forwarder_id: str, reader_ip: str, *, connected: bool = True, **info: Any
) -> None:
    """Let a forwarder that is connected have told of its reader: INFO, but for what is given."""
    await stack.database.execute(_READER, forwarder_id, reader_ip, connected, json.dumps({**INFO, **info}))
    await stack.database.execute("SELECT pg_notify('rt_devices', $1)", forwarder_id)


async def tell_battery(stack: Stack, forwarder_id: str, *, available: bool = True, **status: Any) -> None:
    """Let a forwarder that is connected have told of its battery: STATUS, but for what is given."""
    await stack.database.execute(_BATTERY, forwarder_id, available, json.dumps({**STATUS, **status}))
    await stack.database.execute("SELECT pg_notify('rt_devices', $1)", forwarder_id)
