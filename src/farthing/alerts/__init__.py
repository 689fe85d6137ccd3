"""Alerts on their way: from a ledger's outbox to a callable and to a webhook."""

from farthing.alerts.messenger import Messenger
from farthing.alerts.webhook import SIGNATURE, Webhook, signature

__all__ = ["SIGNATURE", "Messenger", "Webhook", "signature"]
