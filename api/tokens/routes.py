"""Tokens of devices: the raw token is in one answer, once."""

import secrets

from api.http.context import Api
from api.http.errors import ApiError
from api.tokens import store
from api.tokens.types import MintedToken, TokenPath, TokenRequest, Tokens
from shared.db.channels import TOKENS
from shared.db.connections import Statements
from shared.log import get_logger
from shared.transport.tokens import FIELD_RECEIVER_ID, is_forwarder_id, token_hash

__all__ = ["list_tokens", "mint", "mint_token", "revoke_token"]

TOKEN_BYTES = 32

log = get_logger(__name__)


async def mint_token(api: Api, *, body: TokenRequest) -> MintedToken:
    """Make a token for a device."""
    async with api.changing() as (connection, note):
        minted = await mint(connection, body)
        about = {each: getattr(minted, each) for each in ("token_id", "device_type", "device_id")}
        await note("token_minted", **about)
    log.info("token_minted", **{name: str(value) for name, value in about.items()})
    return minted


async def mint(database: Statements, body: TokenRequest) -> MintedToken:
    """Make a token, given or new; ApiError when no device could use it or it exists already."""
    _check(body)
    warnings = await _warnings(database, body)
    token = secrets.token_urlsafe(TOKEN_BYTES) if body.token is None else body.token
    token_id = await store.add_token(
        database,
        token_hash=token_hash(token),
        device_type=body.device_type,
        device_id=body.device_id,
        events_per_second=body.events_per_second,
    )
    if token_id is None:
        raise ApiError("CONFLICT", "this token exists already")
    return MintedToken(
        token_id=token_id,
        device_type=body.device_type,
        device_id=body.device_id,
        token=token,
        warnings=warnings,
    )


async def _warnings(database: Statements, body: TokenRequest) -> list[str]:
    """Say what a token means that is not the first of the id that all receivers of the first generation have."""
    if body.device_type != "receiver" or body.device_id != FIELD_RECEIVER_ID:
        return []
    if not await store.live_tokens(database, "receiver", FIELD_RECEIVER_ID):
        return []
    return [
        f"there is a token of {FIELD_RECEIVER_ID} already: this one stands for another receiver, which begins where it "
        f"says that it stands, and is called {FIELD_RECEIVER_ID}. and the first 8 characters of its token_id"
    ]


async def list_tokens(api: Api) -> Tokens:
    """List the tokens, without the tokens themselves."""
    return Tokens(tokens=await store.list_tokens(api.pool))


async def revoke_token(api: Api, *, path: TokenPath) -> None:
    """Revoke a token: its device's sessions end, and it opens none any more."""
    async with api.changing() as (connection, note):
        device = await store.revoke_token(connection, path.token_id)
        if device is None:
            raise ApiError("NOT_FOUND", "there is no such token, or it is revoked already")
        await note("token_revoked", **device._asdict(), token_id=path.token_id)
    api.process.notifier.notify(TOKENS)
    log.info("token_revoked", token_id=str(path.token_id), **device._asdict())


def _check(body: TokenRequest) -> None:
    """Refuse what no device could connect with."""
    if body.device_type == "forwarder" and not is_forwarder_id(body.device_id):
        raise ApiError(
            "BAD_REQUEST", "device_id: a forwarder's is made of A-Z a-z 0-9 - _ . ~, 1 to 255 of them"
        )
    if body.events_per_second is not None and body.device_type != "receiver":
        raise ApiError("BAD_REQUEST", "events_per_second: only receivers are sent events")
    if not _is_visible(body.device_id):
        raise ApiError(
            "BAD_REQUEST", "device_id: it is blank, or has blanks or control characters at its ends"
        )
    if body.token is not None and not _is_visible(body.token):
        raise ApiError("BAD_REQUEST", "token: it is blank, or cannot stand in an Authorization header")


def _is_visible(text: str) -> bool:
    return bool(text) and text.isprintable() and text.strip() == text
