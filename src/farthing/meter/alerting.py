"""Whom a meter alerts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from farthing.alerts import Messenger, Webhook
from farthing.errors import FarthingError, shown
from farthing.ledger.store import Clock, Ledger
from farthing.records import Alert

__all__ = ["SECRET", "messenger_of", "secret_of"]

SECRET = "FARTHING_ALERT_SECRET"  # noqa: S105  the name of a variable
"""The variable with what webhooks are signed with; without it, the ledger has a secret of its own."""


def messenger_of(
    on_alert: Callable[[Alert], Any] | None, alert_url: str | None, clock: Clock, ledger: Callable[[], Ledger]
) -> Messenger:
    """Who delivers a meter's alerts.

    Raises:
        FarthingError: for what cannot be called, or an address that is not https.
    """
    if on_alert is not None and not callable(on_alert):
        raise FarthingError(f"on_alert must be a function of an Alert; got {shown(on_alert)}")
    return Messenger(
        clock=clock,
        on_alert=on_alert,
        webhook=None if alert_url is None else Webhook(alert_url),
        secret=lambda: secret_of(ledger),
    )


def secret_of(ledger: Callable[[], Ledger]) -> str:
    """What webhooks are signed with."""
    return os.environ.get(SECRET, "").strip() or ledger().outbox.secret()
