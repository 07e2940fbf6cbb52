"""Whom a request comes from: what X-Forwarded-For says is believed of those who may say it, and of nobody else."""

from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from shared.errors import SettingsError
from shared.runtime.client_address import PROXIES, address_of, networks
from shared.runtime.settings import Settings


def asked(came_by: str, *told: str, trusted: str = "") -> str:
    """Return whom a request is taken to come from; told: each header as it was sent."""
    app = web.Application()
    app[PROXIES] = networks(trusted)
    transport = Mock(
        get_extra_info=lambda name, default=None: (came_by, 1) if name == "peername" else default
    )
    headers = CIMultiDict([("X-Forwarded-For", each) for each in told])
    return address_of(make_mocked_request("GET", "/", headers, app=app, transport=transport))


@pytest.mark.parametrize("came_by", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3"])
def test_this_machine_and_the_networks_that_are_trusted_say_who_asked(came_by: str) -> None:
    assert asked(came_by, "192.0.2.7", trusted="10.0.0.0/8, fd00::1") == "192.0.2.7"
    assert asked(came_by, "2001:db8::7", trusted="10.0.0.0/8") == "2001:db8::7"


@pytest.mark.parametrize("came_by", ["192.168.1.5", "203.0.113.9", "2001:db8::9", "11.0.0.1"])
def test_nobody_else_does(came_by: str) -> None:
    assert asked(came_by, "192.0.2.7", trusted="10.0.0.0/8") == came_by


def test_what_a_client_made_up_stands_before_what_the_proxy_says_and_is_not_believed() -> None:
    assert asked("127.0.0.1", "6.6.6.6, 192.0.2.7") == "192.0.2.7"
    assert asked("127.0.0.1", "6.6.6.6", "192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize("told", ["", "unknown", "192.0.2.7, <script>", "x" * 10_000])
def test_what_is_no_address_is_none(told: str) -> None:
    assert asked("127.0.0.1", told) == "127.0.0.1"


def test_the_setting_takes_addresses_and_networks_and_says_what_it_wants_else() -> None:
    url = {"database_url": "postgresql://u@h/d"}
    read = Settings.read({**url, "trusted_proxies": "10.0.0.7, 172.16.0.0/12 fc00::/7"})
    assert {str(each) for each in read.trusted_proxies} == {"10.0.0.7/32", "172.16.0.0/12", "fc00::/7"}
    for wrong in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33"):
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES is wrong: it must be addresses or networks"):
            Settings.read({**url, "trusted_proxies": wrong})
