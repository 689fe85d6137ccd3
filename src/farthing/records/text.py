"""Text that every store can hold, the same wherever it is compared."""

from __future__ import annotations

from typing import overload

__all__ = ["clean"]


@overload
def clean(text: str) -> str: ...
@overload
def clean(text: None) -> None: ...
@overload
def clean(text: str | None) -> str | None: ...
def clean(text: str | None) -> str | None:
    """The text, in which lone surrogates and NULs have become U+FFFD.

    Names of budgets and of calls are compared with those of stored rows: both are cleaned where they are
    given, or a budget on such a name would not bind the calls of that name.
    """
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
