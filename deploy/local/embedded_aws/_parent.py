"""Ties the life of a process to its parent's, so that a killed parent leaves no server behind."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)


def stop_with_parent(parent: int | None = None) -> bool:
    """Ask the kernel for SIGTERM at the parent's death: the process then stops as it does by itself.

    Takes the id of the parent that the caller meant, to notice a parent that died before this call.
    Returns False where that happened; systems without prctl (it is Linux's) count as fine.
    """
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return parent is None or os.getppid() == parent
