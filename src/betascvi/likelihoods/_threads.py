"""How many threads a compiled kernel may use beside torch's."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numba
import torch


def runs_in_parallel() -> bool:
    """Whether parallel kernels serve; they then run on as many threads as torch does.

    They serve where numba's threads are torch's own, be it on one thread: serial kernels, compiled
    apart, may differ in a last bit, and the number of threads must not. After each of its loops
    torch's workers spin for milliseconds, waiting for the next. A second pool of threads would
    compete with them for the same cores, and run slower than one thread.
    """
    if not is_pool_shared():
        return False
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    return True


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
    wanted = torch.get_num_threads()
    _touch(2)  # starting the pool sets the library's number of threads, which is torch's too
    torch.set_num_threads(wanted)
    return str(numba.threading_layer()) == "omp"


@numba.njit(parallel=True, cache=True)
def _touch(n: int) -> int:
    total = 0
    for i in numba.prange(n):
        total += i
    return total
