"""How many threads a compiled kernel may use beside torch's."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numba
import torch


def n_threads() -> int:
    """Torch's number where numba's threads are torch's own, else one.

    After each of its loops torch's workers spin for milliseconds, waiting for the next. A second
    pool of threads would compete with them for the same cores, and run slower than one thread.
    """
    wanted = torch.get_num_threads()
    if wanted == 1 or not is_pool_shared():
        return 1
    return min(wanted, numba.config.NUMBA_NUM_THREADS)


@cache
def is_pool_shared() -> bool:
    """Whether numba's OpenMP layer loads the very library that torch runs on."""
    for path in Path(torch.__file__).parent.glob("lib/libgomp*.so*"):
        try:
            of_torch, by_name = ctypes.CDLL(str(path)), ctypes.CDLL("libgomp.so.1")
        except OSError:
            return False
        addresses = [
            ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
            for library in (of_torch, by_name)
        ]
        return addresses[0] == addresses[1] and _layer_is_openmp()
    return False


def _layer_is_openmp() -> bool:
    """Ask numba which pool it started, by running one loop."""
    _touch(2)
    return str(numba.threading_layer()) == "omp"


@numba.njit(parallel=True, cache=True)
def _touch(n: int) -> int:
    total = 0
    for i in numba.prange(n):
        total += i
    return total
