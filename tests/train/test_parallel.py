"""A batch dealt out, and passes made even; what real processes make of it is in `tests/run/test_processes.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dissensus.errors import DissensusError, ModelError
from dissensus.record.processes import EvenProcessGroup, ProcessGroup, error_like
from dissensus.train.parallel import ParallelTraining, _has_unused, balanced_share, parallel_training


@given(lengths=st.lists(st.integers(1, 128), min_size=1, max_size=40), world=st.integers(2, 7))
def test_each_row_is_dealt_once_and_tokens_are_balanced(lengths: list[int], world: int) -> None:
    rows = np.arange(100, 100 + len(lengths))
    tokens = np.array(lengths)
    shares = [balanced_share(rows, tokens, ProcessGroup(rank, world)) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == rows.tolist()
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1
    # Forth and back, the sums of any two processes differ by no more than the longest.
    sums = [int(tokens[share - 100].sum()) for share in shares]
    assert max(sums) - min(sums) <= max(lengths)
    # No process has more parts than each is told to make.
    for wanted in (1, 2, 3):
        assert ParallelTraining(ProcessGroup(0, world)).parts(len(rows), wanted) == min(wanted, max(counts))


def test_one_process_keeps_the_batch_as_it_is() -> None:
    rows = np.array([5, 3, 4])
    assert ParallelTraining().share(rows, np.array([1, 2, 3])) is rows
    assert ParallelTraining().parts(3, 2) == 2
    assert ParallelTraining().parts(1, 2) == 1


@given(batches=st.integers(1, 20), world=st.integers(1, 5))
def test_passes_are_even_and_only_ones_own_count(batches: int, world: int) -> None:
    every = list(range(batches))
    found, passes = [], set()
    for rank in range(world):
        group = EvenProcessGroup(rank, world)
        share = list(group.share(every))
        passes.add(len(share))
        found += share[: group.counted]
        assert share[: group.counted] == list(ProcessGroup(rank, world).share(every))
    assert len(passes) == 1
    assert sorted(found) == every


def test_an_error_of_another_process_keeps_its_kind() -> None:
    found = error_like("ModelError", "no weights", 2)
    assert isinstance(found, ModelError)
    assert str(found) == "no weights"
    assert type(error_like("MissingDependencyError", "pip install it", 1)) is DissensusError
    other = error_like("ValueError", "of something", 2)
    assert isinstance(other, RuntimeError)
    assert str(other) == "ValueError in process 2: of something"


def test_unison_alone_is_nothing() -> None:
    with pytest.raises(KeyError), ProcessGroup().all_or_none(torch.device("cpu")):
        raise KeyError("own")
    assert ProcessGroup().sum(0.25, torch.device("cpu")) == 0.25


def test_weights_that_the_loss_does_not_reach_are_found(build: Any) -> None:
    model, data = build("full")
    extra = torch.nn.Linear(2, 2)
    before = [p.clone() for p in model.module.parameters()]
    modes = [m.training for m in model.module.modules()]
    state = torch.get_rng_state()
    assert not _has_unused(model)
    model.module.extra = extra
    assert _has_unused(model)
    del model.module.extra
    assert all(p.grad is None for p in model.module.parameters())
    assert all(map(torch.equal, before, model.module.parameters()))
    assert [m.training for m in model.module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert len(data.labels) == 24


def test_a_team_of_one_needs_no_group(build: Any) -> None:
    model, _ = build("lora")
    parallel = parallel_training(model)
    assert (parallel.group, parallel.wrapped, parallel.root, model.entry) == (
        ProcessGroup(),
        None,
        None,
        None,
    )
