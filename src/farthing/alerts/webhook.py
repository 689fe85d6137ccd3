"""A webhook: an alert as JSON, signed, to an address that only https reaches.

The signature is that of Stripe's webhooks (docs.stripe.com/webhooks, "Verify manually"): HMAC-SHA256 over the
timestamp, a full stop and the body, so that neither can be changed and an old request cannot be sent again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from farthing.errors import FarthingError
from farthing.money import NANO
from farthing.records import Alert

__all__ = ["SIGNATURE", "Webhook", "signature"]

SIGNATURE: Final = "Farthing-Signature"
"""The header: `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256>`."""

_TIMEOUT: Final = 10.0
"""Seconds until an address is taken not to answer."""


def signature(secret: str, at: int, body: bytes) -> str:
    """What the header says of a body that was sent at an instant (seconds since 1970)."""
    signed = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


class Webhook:
    """Where alerts are posted to.

    Args:
        url: https; http to this machine only. A name and password in it are sent as basic authentication.
            A proxy of the environment (`HTTPS_PROXY`) is asked for a tunnel to other machines, not to this.

    Raises:
        FarthingError: for any other address. The message does not repeat it, as it may be a secret.
    """

    def __init__(self, url: object) -> None:
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise FarthingError("alert_url is no URL") from None
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))):
            raise FarthingError(
                "alert_url must begin with https:// (http:// is for this machine only, as amounts are sent)"
            )
        shown = f"[{host}]" if ":" in host else host
        self._here = _is_here(host)
        self._url = urlunsplit(
            (parts.scheme, shown if port is None else f"{shown}:{port}", parts.path, parts.query, "")
        )
        self._headers = {"Content-Type": "application/json", "User-Agent": "farthing"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"

    def __repr__(self) -> str:
        return "Webhook(...)"

    def post(self, alert: Alert, secret: str, at: int) -> None:
        """Send it.

        Raises:
            OSError: (`urllib.error.URLError`) if nobody answers, or with another status than 2xx. A redirect
                is none: what is sent goes to the address that was given, and nowhere else.
        """
        import urllib.error  # noqa: PLC0415  only where somebody is alerted
        import urllib.request  # noqa: PLC0415

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        direct = [urllib.request.ProxyHandler({})] if self._here else []
        opener = urllib.request.build_opener(Stay, *direct)
        body = _json(alert)
        request = urllib.request.Request(  # noqa: S310  the scheme is checked above
            self._url,
            data=body,
            headers={**self._headers, SIGNATURE: signature(secret, at, body), "Idempotency-Key": alert.id},
            method="POST",
        )
        try:
            with opener.open(request, timeout=_TIMEOUT) as response:
                response.read(1024)
        except urllib.error.HTTPError as error:
            error.close()  # it is an answer, too, with a connection of its own
            raise


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(alert: Alert) -> bytes:
    """Money as numbers with their exact digits, and beside them in nano-dollars."""
    members = {
        "id": json.dumps(alert.id),
        "type": '"budget.alert"',
        "budget": json.dumps(alert.budget),
        "key": json.dumps(alert.key),
        "threshold": json.dumps(alert.threshold),
        **_money("limit", alert.limit),
        **_money("spent", alert.spent),
        **_money("held", alert.held),
        "startsAt": _instant(alert.starts_at),
        "endsAt": _instant(alert.ends_at),
        "raisedAt": _instant(alert.raised_at),
    }
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}").encode()


def _money(name: str, amount: Decimal) -> dict[str, str]:
    return {f"{name}Usd": format(amount, "f"), f"{name}Nano": str(int(amount * NANO))}


def _instant(at: datetime | None) -> str:
    return json.dumps(None if at is None else at.isoformat().replace("+00:00", "Z"))
