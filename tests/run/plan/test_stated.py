"""What the command line states of a cluster."""

from __future__ import annotations

import pytest

from dissensus.errors import SpecError
from dissensus.run.engines.base import Machine
from dissensus.run.plan.stated import Assumption, in_words, parse_assumption, parse_cluster


def test_machines_of_several_kinds() -> None:
    machines = parse_cluster(["nodes=2,cpus=16,gpus=1,memory=128", " cpus = 64 , memory = 256 "])
    assert machines == (Machine(16, 1, 128), Machine(16, 1, 128), Machine(64, 0, 256))
    assert in_words(machines) == (
        "2 machines of 16 processors, 1 GPU and 128 GiB and 1 machine of 64 processors and 256 GiB"
    )
    assert parse_cluster([]) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eight", "'eight' is not KEY=NUMBER; e.g. --cluster \"nodes=8,cpus=16,gpus=1,memory=128\""),
        ("nodes=8,cpu=16,memory=1", "unknown key 'cpu'; did you mean 'cpus'?"),
        ("nodes=8,gpus=1", "lacks cpus and memory"),
        ("cpus=16,cpus=8,memory=1", "cpus is there twice"),
        ("cpus=many,memory=1", "cpus=many; expected a number, 0 or more"),
        ("cpus=-1,memory=1", "cpus=-1; expected a number, 0 or more"),
        ("cpus=0,memory=1", "cpus=0; expected more than 0"),
        ("nodes=0,cpus=1,memory=1", "nodes=0; expected more than 0"),
        ("nodes=1.5,cpus=1,memory=1", "nodes=1.5; expected a whole number"),
        ("cpus=1,memory=1,gpus=nan", "gpus=nan; expected a number"),
    ],
)
def test_what_is_no_machine_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_cluster([text])
    assert said in str(refused.value)


def test_an_assumption() -> None:
    assert parse_assumption("tflops=989,share=0.35") == Assumption(989, 0.35, 30, 0.02)
    assumed = parse_assumption("tflops=2,share=0.5,setup=5,step=0")
    assert (assumed.rate, assumed.setup, assumed.step) == (1e12, 5, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tflops=989", "lacks share"),
        ("tflops=0,share=1", "tflops=0; expected more than 0"),
        ("tflops=1,share=35", "share=35; expected more than 0 and at most 1"),
        ("flops=1,share=1", "unknown key 'flops'; did you mean 'tflops'?"),
    ],
)
def test_what_is_no_assumption_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_assumption(text)
    assert said in str(refused.value)
