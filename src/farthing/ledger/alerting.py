"""Alerts that wait to be delivered: what a ledger promises about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from farthing.records.alert import Alert

__all__ = ["Alerting", "Channel", "Due", "Outbox"]

Channel = Literal["call", "post"]
"""Ways on which an alert goes out: a callable, a webhook."""


@dataclass(frozen=True, slots=True)
class Due:
    """An alert that this process has undertaken to deliver. `tries` counts this one."""

    number: int
    alert: Alert
    tries: int


class Outbox(Protocol):
    """Alerts, in the transaction of what raised them, each once for its window, threshold and limit.

    Each is to go out once on every channel, by whichever process has somebody there. A process that has
    nobody there leaves it for one that has.
    """

    def listen(self, wake: Callable[[], None]) -> None:
        """Have a bound method called when this process has raised alerts. It is held weakly, and called where
        the ledger is locked: it may only queue."""

    def raised(self) -> list[Alert]:
        """The alerts that this process has raised, each given once to whoever asks first."""

    def claim(self, channel: Channel, now_ns: int, until_ns: int) -> list[Due]:
        """Undertake to deliver what is due now; nobody else does until that instant."""

    def delivered(self, channel: Channel, number: int) -> None:
        """It has arrived, or never will: it is due no more."""

    def failed(self, channel: Channel, number: int, again_ns: int) -> None:
        """It did not arrive: it is due again then."""

    def next_due(self, channel: Channel) -> int | None:
        """When the first that waits is due; None if none waits."""

    def secret(self) -> str:
        """What webhooks are signed with, the same in every process: made at random when it is first asked
        for."""


class Alerting(Protocol):
    """The part of a ledger that is about alerts."""

    @property
    def outbox(self) -> Outbox:
        """Its alerts."""
