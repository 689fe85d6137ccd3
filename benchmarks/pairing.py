"""Two ways of doing the same, measured side by side so that a shared, drifting machine cancels out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Block", "Paired", "paired", "quartiles"]

Block = Callable[[], float]
"""Does one block and returns the microseconds of what it measures (the median of its calls)."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Microseconds of paired blocks: of each the time, and what it cost in CPU."""

    bare: list[float]
    other: list[float]
    bare_cpu: list[float]
    other_cpu: list[float]

    @property
    def added(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the paired differences."""
        return quartiles([b - a for a, b in zip(self.bare, self.other, strict=True)])

    @property
    def ratio(self) -> tuple[float, float, float]:
        """The same of the paired ratios, other / bare."""
        return quartiles([b / a for a, b in zip(self.bare, self.other, strict=True)])

    @property
    def added_cpu(self) -> float:
        """Median of the paired differences of CPU time of all threads."""
        return statistics.median([b - a for a, b in zip(self.bare_cpu, self.other_cpu, strict=True)])


def paired(bare: Block, other: Block, pairs: int, *, calls: int) -> Paired:
    """Alternating blocks in the order ABBA, after a few of each that are thrown away.

    Args:
        calls: in each block, by which its CPU time is divided.
    """
    for _ in range(4):
        bare()
        other()
    gc.collect()
    found = Paired([], [], [], [])
    for pair in range(pairs):
        for block in (bare, other) if pair % 2 == 0 else (other, bare):
            cpu = time.process_time_ns()
            wall = block()
            cpu = time.process_time_ns() - cpu
            (found.bare if block is bare else found.other).append(wall)
            (found.bare_cpu if block is bare else found.other_cpu).append(cpu / calls / 1e3)
    return found


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
