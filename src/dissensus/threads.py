"""Work in threads: NumPy lets go of the interpreter inside its loops, so plain functions of arrays run side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

Job = TypeVar("Job")
Result = TypeVar("Result")


def available() -> int:
    """Threads to use: the cores that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # a job on a shared machine is often confined to some of its cores
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], *, threads: int | None = None
) -> list[Result]:
    """`[work(job) for job in jobs]`, computed by several threads.

    Jobs are taken one at a time and in order, each by the next thread that is free: no more of them exist at a time
    than there are threads, and a generator of jobs that draws random numbers draws the same ones whatever the
    number of threads. The results are in the order of the jobs. An error of any job ends the others and is raised.

    Args:
        work: called with one job, in any thread; must change nothing that another call sees.
        jobs: may be lazy.
        threads: how many; default `available()`. With 1 everything happens in the calling thread.
    """
    _keep_memory()
    count = available() if threads is None else threads
    if count <= 1:
        return [work(job) for job in jobs]
    source, lock, stop = iter(enumerate(jobs)), threading.Lock(), threading.Event()
    results: dict[int, Result] = {}

    def run() -> None:
        try:
            while not stop.is_set():
                with lock:
                    numbered_job = next(source, None)
                if numbered_job is None:
                    return
                results[numbered_job[0]] = work(numbered_job[1])
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(count) as pool:
        try:
            for running in [pool.submit(run) for _ in range(count)]:
                running.result()
        finally:
            stop.set()
    return [results[place] for place in range(len(results))]


@cache
def _keep_memory() -> None:
    """Let the C library keep the memory of arrays of up to 31 MiB instead of handing it back each time.

    Work in blocks makes and drops arrays of the same few sizes thousands of times. By default glibc returns such
    memory to the system on each drop, which clears every page anew on the next use: measured, that was half of the
    time of a bootstrap. It stops doing so below the size of the largest block that it has seen freed (up to 32 MiB);
    this is such a block, never written to. Other allocators are not affected.
    """
    np.empty(31 * 2**20, dtype=np.uint8)
