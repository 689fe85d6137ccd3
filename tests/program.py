"""Programs that tests talk to."""

from __future__ import annotations

import subprocess
from types import TracebackType

__all__ = ["Program"]


class Program(subprocess.Popen):
    """Ended when the test fails: `with` would wait for its end, which may never come."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, traceback)
