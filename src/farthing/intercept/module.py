"""Modules that are used as a client: `openai.chat.completions.create(...)`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from farthing.errors import FarthingError
from farthing.struck import pass_on

__all__ = ["client_of"]


def client_of(thing: Any) -> Any:
    """The client behind a module whose functions are methods of one of its own (openai, `_load_client`, from
    1.0 on); anything else is what it is.

    Raises:
        FarthingError: if the module cannot make its client yet, for lack of a key.
    """
    load = getattr(thing, "_load_client", None) if isinstance(thing, ModuleType) else None
    if load is None:
        return thing
    try:
        return load()
    except Exception as error:
        pass_on(error)
        raise FarthingError(
            f"the module {thing.__name__} has no client yet: set its api_key before wrapping it ({error})"
        ) from error
