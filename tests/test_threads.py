from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dissensus import threads


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_are_in_the_order_of_the_jobs(count):
    def slower_at_first(job: int) -> int:
        time.sleep(0.01 if job < 3 else 0)
        return job * job

    assert threads.in_order(slower_at_first, range(20), threads=count) == [job * job for job in range(20)]
    assert threads.in_order(slower_at_first, [], threads=count) == []


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_jobs_exist_than_threads(count):
    done = 0

    def jobs() -> Iterator[int]:
        for job in range(30):
            assert job - done <= count
            yield job

    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal done
        with lock:
            done += 1

    threads.in_order(work, jobs(), threads=count)
    assert done == 30


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_of_a_job_or_of_the_jobs_themselves_is_raised_and_ends_the_rest(count):
    seen = []

    def fail(job: int) -> None:
        seen.append(job)
        if job == 5:
            raise ValueError("job 5")
        time.sleep(0.002)

    with pytest.raises(ValueError, match="job 5"):
        threads.in_order(fail, range(1000), threads=count)
    assert len(seen) < 20

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        threads.in_order(lambda job: job, broken(), threads=count)


def test_there_is_at_least_one_thread():
    assert threads.available() >= 1
