"""Which sizes a Fargate task can have.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CPU_UNITS_PER_VCPU = 1024

_GIB = 1024
_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1 * _GIB, 2 * _GIB),
    512: tuple(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: tuple(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: tuple(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: tuple(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: tuple(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: tuple(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}


@dataclass(frozen=True, order=True)
class TaskSize:
    """CPU in units of 1/1024 vCPU, memory in MiB."""

    cpu_units: int
    mebibytes: int

    @property
    def vcpus(self) -> float:
        """CPU as it is billed."""
        return self.cpu_units / CPU_UNITS_PER_VCPU

    @property
    def gibibytes(self) -> float:
        """Memory as it is billed."""
        return self.mebibytes / _GIB


def task_sizes() -> Iterator[TaskSize]:
    """All sizes, smaller ones first."""
    for cpu_units, memory in _MEMORY.items():
        for mebibytes in memory:
            yield TaskSize(cpu_units, mebibytes)


def is_valid(size: TaskSize) -> bool:
    """Whether Fargate takes it."""
    return size.mebibytes in _MEMORY.get(size.cpu_units, ())
