"""A webhook: an alert as JSON, signed, to an address that only https reaches.

The signature is that of Stripe's webhooks (docs.stripe.com/webhooks, "Verify manually"): HMAC-SHA256 over the
timestamp, a full stop and the body, so that neither can be changed and an old request cannot be sent again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import ipaddress
import json
import re
import string
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from farthing.errors import FarthingError
from farthing.money import NANO
from farthing.records import Alert

__all__ = ["SIGNATURE", "Webhook", "signature"]

SIGNATURE: Final = "Farthing-Signature"
"""The header: `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256>`."""

_TIMEOUT: Final = 10.0
"""Seconds until an address is taken not to answer, from the start of an attempt."""

_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


def signature(secret: str, at: int, body: bytes) -> str:
    """What the header says of a body that was sent at an instant (seconds since 1970)."""
    signed = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


class Webhook:
    """Where alerts are posted to.

    Args:
        url: https; http to this machine only. A name and password in it are sent as basic authentication.
            In its path and query, spaces and what is not ASCII are sent as UTF-8, percent-encoded.
            A proxy of the environment (`HTTPS_PROXY`) is asked for a tunnel to other machines, not to this.

    Raises:
        FarthingError: for any other address, and for one with control characters in it. The message does not
            repeat it, as it may be a secret.
    """

    def __init__(self, url: object) -> None:
        # Not by the thread that posts first: what it is importing at a fork hangs in the child. The encoding
        # is what sockets ask for, whatever the host.
        import encodings.idna  # noqa: F401, PLC0415

        import farthing.alerts.timed  # noqa: F401, PLC0415

        try:
            parts = _split(url)
            host, port = _ascii(parts.hostname or ""), parts.port
        except ValueError:
            raise FarthingError("alert_url is no URL") from None
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))):
            raise FarthingError(
                "alert_url must begin with https:// (http:// is for this machine only, as amounts are sent)"
            )
        shown = f"[{host}]" if ":" in host else host
        self._here = _is_here(host)
        where = shown if port is None else f"{shown}:{port}"
        self._url = urlunsplit((parts.scheme, where, _sent(parts.path), _sent(parts.query), ""))
        self._headers = {"Content-Type": "application/json", "User-Agent": "farthing"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"

    def __repr__(self) -> str:
        return "Webhook(...)"

    def post(self, alert: Alert, secret: str, at: int) -> None:
        """Send it.

        Raises:
            OSError: (`urllib.error.URLError`, `TimeoutError`) if nobody answers in time, or with another
                status than 2xx. A redirect is none: what is sent goes to the address that was given, and
                nowhere else.
        """
        import http.client  # noqa: PLC0415  only where somebody is alerted
        import urllib.error  # noqa: PLC0415
        import urllib.request  # noqa: PLC0415

        from farthing.alerts.timed import Deadline, ending  # noqa: PLC0415

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        direct = [urllib.request.ProxyHandler({})] if self._here else []
        opener = urllib.request.build_opener(Stay, *direct, *ending(Deadline(_TIMEOUT)))
        body = _json(alert)
        request = urllib.request.Request(  # noqa: S310  the scheme is checked above
            self._url,
            data=body,
            headers={**self._headers, SIGNATURE: signature(secret, at, body), "Idempotency-Key": alert.id},
            method="POST",
        )
        try:
            with (
                opener.open(request, timeout=_TIMEOUT) as response,
                # It has arrived, whatever becomes of what else is answered.
                contextlib.suppress(OSError, http.client.HTTPException),
            ):
                response.read(1024)
        except urllib.error.HTTPError as error:
            error.close()  # it is an answer, too, with a connection of its own
            raise


def _split(url: object) -> SplitResult:
    """The parts of what can be sent; urlsplit would leave out a tab or a line end without a word."""
    stated = url.strip() if isinstance(url, str) else ""
    stated.encode()
    if _UNSENDABLE.search(stated):
        raise ValueError
    return urlsplit(stated)


def _ascii(host: str) -> str:
    """A host as it is asked for; none that IDNA of 2003 and of 2008 would take for two, as of sharp s."""
    if not host.isascii():
        name, host = host, host.encode("idna").decode("ascii")
        if host.encode("ascii").decode("idna") != name:
            raise ValueError
    if " " in host:
        raise ValueError
    return host


def _sent(part: str) -> str:
    return quote(part, safe=string.punctuation)


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
