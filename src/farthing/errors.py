"""What farthing raises.

    FarthingError
    +-- Refused                      a call was not sent
    |   +-- InsufficientCredits      a budget or a prepaid balance does not afford it
    |   +-- UnpricedModel            nobody knows its price and a hard budget binds it
    |   +-- Unbounded                its cost has no upper bound and a hard budget binds it
    |   +-- Unmeterable              it goes a way that cannot be metered
    +-- TransactionConflict          the same transaction_id with other content
    +-- UnknownCall  (LookupError)   there is no finished call with this id
    +-- InvalidBudget  (ValueError)  a limit, period or filter that makes no sense
    +-- InvalidUsage   (ValueError)  counts that cannot be
    +-- LedgerError                  the ledger cannot be used
        +-- LedgerLocked             somebody holds it for too long
        +-- LedgerFull               no room on the disk
        +-- LedgerCorrupt            not a ledger, or a damaged one
        +-- LedgerTooNew             written by a newer farthing
        +-- LedgerMoved              the file under the path is another one now

All of them can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

__all__ = [
    "FarthingError",
    "InsufficientCredits",
    "InvalidBudget",
    "InvalidUsage",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerFull",
    "LedgerLocked",
    "LedgerMoved",
    "LedgerTooNew",
    "Refused",
    "TransactionConflict",
    "Unbounded",
    "UnknownCall",
    "Unmeterable",
    "UnpricedModel",
]


_LONGEST: Final = 1_000
"""Characters that are kept of a message: what it names was given by somebody, and may be a whole file."""


def shown(value: object) -> str:
    """A value as messages name it: its `repr`, also where that fails, as of an integer of more digits than
    Python writes out (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits)."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  the object is the caller's
        return f"a value of type {type(value).__name__} that cannot be shown"


class FarthingError(Exception):
    """Base of all errors that farthing raises."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shortened(each) if isinstance(each, str) else each for each in args))


def _shortened(message: str) -> str:
    if len(message) <= _LONGEST:
        return message
    return f"{message[: _LONGEST * 2 // 3]} ... {message[-_LONGEST // 3 :]}"


class Refused(FarthingError):
    """A call was refused before anything was sent; it cost nothing."""


class InsufficientCredits(Refused):
    """The money for this call is not there.

    All amounts are USD as `Decimal`.

    Attributes:
        kind: "budget" or "credits".
        budget: the budget that is tightest, by its name; None for credits.
        limit, spent, held, remaining: of that budget's window at the instant of the refusal.
        required: what the call would have had to set aside.
        account, model: of the refused call.
        resets_at: when the window ends (aware, UTC); None where nothing resets.
        retry_after: seconds until the money may be there: the time that a call takes if `transient`, else the
            time to `resets_at`; None where nothing resets. It does not help a call that needs more than the
            whole limit: then `required` is above `limit`.
        transient: True if the money is only held by calls that have not ended. They are running, or their
            process was killed and its lease (ten minutes) has not run out: nobody can tell before.
    """

    _FIELDS = (
        "kind",
        "budget",
        "limit",
        "spent",
        "held",
        "remaining",
        "required",
        "account",
        "model",
        "resets_at",
        "retry_after",
        "transient",
        "shared",
    )

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["budget", "credits"] = "budget",
        budget: str | None = None,
        limit: Decimal | None = None,
        spent: Decimal | None = None,
        held: Decimal | None = None,
        remaining: Decimal | None = None,
        required: Decimal | None = None,
        account: str | None = None,
        model: str | None = None,
        resets_at: datetime | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        shared: bool = True,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.held = held
        self.remaining = remaining
        self.required = required
        self.account = account
        self.model = model
        self.resets_at = resets_at
        self.retry_after = retry_after
        self.transient = transient
        self.shared = shared

    def to_dict(self) -> dict[str, Any]:
        """Everything that is known, with money as `Decimal` and instants as ISO-8601 text.

        `json.dumps(..., default=str)` writes it with the exact digits of each amount.
        """
        return {
            "error": "insufficient_credits",
            "message": str(self),
            "kind": self.kind,
            "budget": self.budget,
            "limit": self.limit,
            "spent": self.spent,
            "held": self.held,
            "remaining": self.remaining,
            "required": self.required,
            "account": self.account,
            "model": self.model,
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
            "retry_after": self.retry_after,
            "transient": self.transient,
        }

    def public_dict(self) -> dict[str, Any]:
        """What may be shown to the account itself: no amounts of a budget that it shares with others; in the
        same types as `to_dict`."""
        public = self.to_dict()
        if self.shared:
            public["message"] = "The budget for this request is used up."
            for name in ("budget", "limit", "spent", "held", "remaining"):
                public[name] = None
        return public

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_refusal, (str(self), {name: getattr(self, name) for name in self._FIELDS})


def _rebuild_refusal(message: str, fields: dict[str, Any]) -> InsufficientCredits:
    return InsufficientCredits(message, **fields)


class UnpricedModel(Refused):
    """No price is known for the model and a hard budget binds the call."""


class Unbounded(Refused):
    """The cost of the call has no upper bound and a hard budget binds it."""


class Unmeterable(Refused):
    """The call goes a way that farthing cannot observe and a hard budget binds it."""


class TransactionConflict(FarthingError):
    """This `transaction_id` was recorded before with other content."""


class UnknownCall(FarthingError, LookupError):
    """There is no finished call with this id in the ledger."""


class InvalidBudget(FarthingError, ValueError):
    """A budget that makes no sense; the message names what is understood."""


class InvalidUsage(FarthingError, ValueError):
    """Counts that cannot be: negative, contradictory or no numbers."""


class LedgerError(FarthingError):
    """The ledger cannot be used."""


class LedgerLocked(LedgerError):
    """Another program has held the ledger for longer than the timeout."""


class LedgerFull(LedgerError):
    """There is no room on the disk for the ledger."""


class LedgerCorrupt(LedgerError):
    """The file is not a ledger, or it is damaged."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer version of farthing."""


class LedgerMoved(LedgerError):
    """The file under the ledger's path is not the one that was opened."""
