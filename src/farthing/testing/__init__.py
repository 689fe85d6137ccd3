"""What a program's own tests need: a provider on the loopback interface, a clock and ids that do as told.

Nothing here is loaded by the library itself, and nothing here imports a provider's SDK.
"""

from __future__ import annotations

from farthing.testing.clock import FakeClock, FakeIds
from farthing.testing.provider import FakeProvider
from farthing.testing.replies import Reply, Request

__all__ = ["FakeClock", "FakeIds", "FakeProvider", "Reply", "Request"]
