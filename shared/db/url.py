"""DATABASE_URL: what people write and providers hand out, made into what asyncpg takes, or into one line that says what
to do. Nothing of a URL but its host, its database and the names of its parameters is ever said: what stands where a
password could be is one.
"""

import os
import pwd
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlencode

__all__ = ["DatabaseUrl", "parse_database_url"]

CONNECT_TIMEOUT_S = 5.0

_ENCODE = (
    "has a character in the user or password that means something in a URL: percent-encode the password "
    "(/ is %2F, ? %3F, # %23, @ %40, % %25, [ %5B, ] %5D, a blank %20)"
)
_LOOK = "must look like postgresql://user:password@host:5432/database"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:]*)(:[0-9]{1,5})?")
_NAME = re.compile("[a-z][a-z_]{1,30}")
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")

# libpq's, which asyncpg would hand to the server as settings that it does not know. Ours of the same purpose are set on
# each connection (shared/db/connections.py), or the default does what they ask for.
_WITHOUT_EFFECT = {
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
    *("application_name", "fallback_application_name", "client_encoding", "sslsni", "sslcompression"),
    *("load_balance_hosts", "gssdelegation", "requiressl", "min_protocol_version", "max_protocol_version"),
}
# What other libraries put into their URLs.
_OF_OTHERS = {
    *("schema", "pgbouncer", "connection_limit", "pool_timeout", "pool_size", "pool_mode", "socket_timeout"),
    *("sslaccept", "ssl", "statement_cache_size", "prepared_statements", "uselibpqcompat", "currentSchema"),
}
# What asyncpg itself takes; it tells the server of `options`, as libpq does.
_TAKEN = {
    *("host", "port", "user", "password", "passfile", "dbname", "database", "service", "options"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"),
}
# libpq's, whose promise asyncpg cannot keep: what to do instead.
_NOT_SPOKEN = {
    "hostaddr": "write the address in place of the host's name",
    "requirepeer": "take it out: by TCP, sslmode=verify-full says who answers",
    "sslcrldir": "name one file with all lists of revoked certificates in sslcrl",
    "servicefile": "set PGSERVICEFILE, or write what the service says into the URL",
    "replication": "take it out",
    "sslkeylogfile": "take it out",
    **dict.fromkeys(("scram_client_key", "scram_server_key"), "give the password"),
    **dict.fromkeys(
        ("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"), "give the user a password"
    ),
}
# libpq's, of which the answer depends on the value: (the values that are what we do anyway, what to do about others).
_DEPENDING: Mapping[str, tuple[frozenset[str], str]] = {
    "gssencmode": (frozenset({"disable", "prefer"}), "GSS encryption is not spoken here: use TLS (sslmode)"),
    "sslcertmode": (frozenset({"allow", "disable"}), "name the certificate in sslcert and sslkey"),
    "require_auth": (frozenset({"scram-sha-256", "none"}), "take it out, and have the server ask for SCRAM"),
}
# Modes that look at no certificate of the server.
_UNVERIFIED = {"disable", "allow", "prefer"}
# What asyncpg would pass over in silence beside sslrootcert=system: what to do instead.
_NOT_BESIDE_SYSTEM = {
    "sslcrl": "name a file with the certificates that you trust in sslrootcert, or take it out",
    "sslpassword": "write the key without a password into a file that others may not read",
}


class DatabaseUrl(NamedTuple):
    """A database as asyncpg is told of it: its URL, what is said of it to people, and what a URL cannot say."""

    url: str
    place: str
    timeout_s: float
    tls: ssl.SSLContext | None


def parse_database_url(text: str) -> DatabaseUrl:
    """Read a URL; ValueError says what is wrong, as the end of a sentence, and quotes nothing of it but names."""
    if text[:1] in {'"', "'"}:
        raise ValueError("begins with a quote: write it without, where nothing takes quotes away")
    scheme, there, rest = text.strip().partition("://")
    if scheme not in ("postgres", "postgresql") or not there:
        raise ValueError(_LOOK)
    authority, path, query = _split(rest)
    login, _, hosts = authority.rpartition("@")
    _check_login(login)
    if not all(_HOST.fullmatch(each) for each in hosts.split(",")):
        raise ValueError(f"{_LOOK}; after the host comes a port that is a number, or nothing")
    parameters = _parameters(query)
    timeout_s = _timeout(parameters.pop("connect_timeout", None))
    _check_files(parameters)
    tls = _tls(parameters, os.environ)
    cleaned = {name: value for name, value in parameters.items() if _is_passed_on(name, value)}
    query = f"?{urlencode(cleaned)}" if cleaned else ""
    return DatabaseUrl(f"{scheme}://{authority}{path}{query}", f"{hosts}{unquote(path)}", timeout_s, tls)


def _split(rest: str) -> tuple[str, str, str]:
    """Return user, password and hosts; the path; the query. An @ in the later two was meant for the first."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    if "@" in path + query or "#" in rest or "@" in authority.rpartition("@")[0]:
        raise ValueError(_ENCODE)
    return authority, path, query


def _check_login(login: str) -> None:
    if _STRAY_PERCENT.search(login) or set(login) & set("[] \t"):
        raise ValueError(_ENCODE)
    if not login and not os.environ.get("PGUSER"):
        with suppress(KeyError):
            pwd.getpwuid(os.getuid())
            return
        raise ValueError(f"names no user, and this process' own (uid {os.getuid()}) has no name: {_LOOK}")


def _parameters(query: str) -> dict[str, str]:
    """Return what stands behind the question mark; nothing that is empty."""
    if _STRAY_PERCENT.search(query) or not all("=" in each for each in query.split("&") if each):
        raise ValueError(
            "has something behind its ? that is not name=value: percent-encode what stands there"
        )
    # Not parse_qsl, to which + is a blank: it is a + to libpq, and in passwords that providers make.
    named = (each.partition("=") for each in query.split("&"))
    return {unquote(name): unquote(value) for name, _, value in named if value}


def _timeout(text: str | None) -> float:
    """Return how long a connection may take; libpq's 0 is for ever, which nothing here may take."""
    if text is None or text == "0":
        return CONNECT_TIMEOUT_S
    if not text.isascii() or not text.isdigit():
        raise ValueError("has a connect_timeout that is not a whole number of seconds")
    return min(float(text), 30.0)


def _tls(parameters: dict[str, str], environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """Take out what asyncpg cannot be told in a URL, and return the TLS that it means. What a URL leaves open is said
    by libpq's variables, which asyncpg reads, too.
    """
    mode = parameters.get("sslmode") or environment.get("PGSSLMODE", "")
    if parameters.get("sslmode") == "disable":
        # Or PGSSLNEGOTIATION=direct would still ask for the TLS that is not to be.
        parameters.setdefault("sslnegotiation", "postgres")
    if parameters.pop("channel_binding", "prefer") == "require" and mode not in ("verify-ca", "verify-full"):
        raise ValueError(
            "asks for channel_binding=require, which is not spoken here. What it is there for, that nobody stands "
            "between, sslmode=verify-full&sslrootcert=system does as well: write that in its place"
        )
    if "sslrootcert" in parameters:
        trusts_system = parameters["sslrootcert"] == "system"
    else:
        # Who looks at no certificate reads no file of whom to trust, whatever the environment says.
        trusts_system = environment.get("PGSSLROOTCERT") == "system" and mode not in _UNVERIFIED
    if trusts_system and mode not in ("", "verify-full"):
        raise ValueError(
            "has sslrootcert=system (or PGSSLROOTCERT is that), which takes sslmode=verify-full: write that into it"
        )
    return _trusting_system(parameters, environment) if trusts_system else None


def _trusting_system(parameters: dict[str, str], environment: Mapping[str, str]) -> ssl.SSLContext:
    """Take out what this TLS takes the place of, and return it."""
    for name, advice in _NOT_BESIDE_SYSTEM.items():
        if name in parameters or (name == "sslcrl" and environment.get("PGSSLCRL")):
            raise ValueError(f"has {name} beside sslrootcert=system, which cannot be: {advice}")
    for name in ("sslmode", "sslrootcert"):
        parameters.pop(name, None)
    certificate = parameters.pop("sslcert", None) or environment.get("PGSSLCERT")
    key = parameters.pop("sslkey", None) or environment.get("PGSSLKEY")
    versions = [
        parameters.pop(f"ssl_{end}_protocol_version", None)
        or environment.get(f"PGSSL{end.upper()}PROTOCOLVERSION")
        for end in ("min", "max")
    ]
    return _system_tls(certificate, key, *versions)


@cache
def _system_tls(
    certificate: str | None, key: str | None, lowest: str | None, highest: str | None
) -> ssl.SSLContext:
    """Return TLS that trusts whom this system trusts; kept, because reading all of them takes its time."""
    context = ssl.create_default_context()
    # Or a server that is spoken to in TLS from the first byte (sslnegotiation=direct) refuses.
    context.set_alpn_protocols(["postgresql"])
    if lowest:
        context.minimum_version = _version(lowest)
    if highest:
        context.maximum_version = _version(highest)
    if certificate:
        try:
            # A password for the key, which has none: or OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except OSError:
            raise ValueError(
                "names in sslcert and sslkey (or PGSSLCERT and PGSSLKEY) what is no certificate with its key: name PEM "
                "files that can be read, of one another, and the key without a password"
            ) from None
    return context


def _version(name: str) -> ssl.TLSVersion:
    if name not in ("TLSv1.2", "TLSv1.3"):
        raise ValueError("asks for a version of TLS that is none of TLSv1.2 and TLSv1.3")
    return ssl.TLSVersion[name.replace(".", "_")]


def _is_passed_on(name: str, value: str) -> bool:
    """Whether asyncpg, or the server, is told of a parameter."""
    if name in _OF_OTHERS:
        raise ValueError(f"has the parameter {name}, which is another library's: take it out")
    if name in _DEPENDING:
        harmless, advice = _DEPENDING[name]
        if value not in harmless:
            raise ValueError(f"has a {name} that cannot be: {advice}")
        return False
    if name in _NOT_SPOKEN:
        raise ValueError(f"has the parameter {name}, which is not spoken here: {_NOT_SPOKEN[name]}")
    if name not in _TAKEN | _WITHOUT_EFFECT:
        shown = name if _NAME.fullmatch(name) else "whose name is none"
        raise ValueError(
            f"has a parameter {shown}, which nobody here knows: correct it or take it out; a setting of the server "
            "goes into options=-c%20name%3Dvalue"
        )
    return name not in _WITHOUT_EFFECT


def _check_files(parameters: Mapping[str, str]) -> None:
    """Find files that cannot be read here and now: asyncpg goes on without some, and is refused much later."""
    for name in ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if name not in parameters or (name, parameters[name]) == ("sslrootcert", "system"):
            continue
        try:
            mode = Path(parameters[name]).stat().st_mode
            readable = os.access(parameters[name], os.R_OK)
        except OSError:
            mode, readable = 0, False
        if not readable:
            raise ValueError(
                f"names a file in {name} that uid {os.getuid()} cannot read, or that is not there: put it there, let "
                "it be read, or correct the name"
            )
        if name == "passfile" and mode & 0o077:
            raise ValueError("names a passfile that others may read, so it is not used: chmod 600")
