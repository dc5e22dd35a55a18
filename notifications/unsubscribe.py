"""Links that stop a kind of mail for one reader: signed, so that they need no login and fit nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

from core.errors import MetamonError

KEY_NAME = "mail"
MAC_BYTES = 16
TOKEN_CAP = 800


class BadTokenError(MetamonError):
    """The link is not one of ours, or was cut off on its way."""


@dataclass(frozen=True)
class Wish:
    """Who wants to hear no more of what."""

    app_id: int
    address: str
    kind: str


def sign(wish: Wish, key: bytes) -> str:
    """Return the token of a wish. It never expires: a link in an old mail must still work."""
    body = json.dumps([wish.app_id, wish.address.lower(), wish.kind], separators=(",", ":")).encode()
    return _b64(body) + "." + _b64(_mac(body, key))


def read(token: str, key: bytes) -> Wish:
    """Return the wish of a token.

    Raises:
        BadTokenError: nobody signed this.
    """
    problem = BadTokenError("this link is not complete, or not one of ours; the newest digest has a good one")
    body_part, _, mac_part = token[:TOKEN_CAP].partition(".")
    try:
        body, mac = _unb64(body_part), _unb64(mac_part)
    except ValueError:
        raise problem from None
    if not hmac.compare_digest(mac, _mac(body, key)):
        raise problem
    app_id, address, kind = json.loads(body)
    return Wish(int(app_id), str(address), str(kind))


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"unsubscribe|" + body, hashlib.sha256).digest()[:MAC_BYTES]


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    if not text.isascii() or not text:
        raise ValueError("no base64")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
