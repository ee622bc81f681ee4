"""Curves that stay in their store: what is read of them, and that every metric is the one in memory, to the bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import size
from dissensus import threads
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import StoreError
from dissensus.metrics import (
    aulc,
    blocks,
    cartography,
    example_metrics,
    forgetting,
    gold_margins,
    margin,
    unlearning,
)
from dissensus.store import CurvesWriter, StoredCurves, files, load_curves, open_curves, reading

N, STEPS = 203, (0, 3, 10, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """203 examples in row groups of 16, with gaps, without some gold labels and annotations."""
    path = tmp_path_factory.mktemp("stored")
    rng = np.random.default_rng(0)
    examples = tuple(
        Example(
            f"e{i}",
            {"premise": f"p{i // 2}", "hypothesis": "h" * (i % 5)},
            None if i % 17 == 0 else i % 3,
            (0.0, 0.0, 0.0) if i % 13 == 0 else tuple(rng.multinomial(5, [0.5, 0.3, 0.2]).astype(float)),
        )
        for i in range(N)
    )
    data = AnnotatedDataset("stored", ("x", "y", "z"), examples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROW_GROUP", 16)
        writer = CurvesWriter(
            path,
            data,
            total_steps=40,
            values=["margin"],
            regime=["held_out", "trained_on"] * 101 + ["held_out"],
            covariates={"tokens": np.where(np.arange(N) == 5, np.nan, np.arange(N))},
        )
        for step in STEPS:
            logits = rng.normal(0, 2, (N, 3))
            log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
            log_probs[rng.random((N, 3)) < 0.05] = -np.inf
            log_probs[rng.random(N) < 0.05] = np.nan
            writer.write(step, None, log_probs, values={"margin": rng.random(N, dtype=np.float32)})
        writer.finish()
    return path


@pytest.fixture
def stored(folder: Path) -> StoredCurves:
    return open_curves(folder)


def equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def assert_same(ours: object, theirs: object) -> None:
    for name, value in vars(theirs).items():
        own = getattr(ours, name)
        if hasattr(value, "__dataclass_fields__"):
            assert_same(own, value)
        elif isinstance(value, dict):
            assert value.keys() == own.keys()
            assert all(equal(own[key], value[key]) for key in value), name
        else:
            assert equal(own, value), name


@pytest.mark.parametrize("rows", [1, 7, 16, 50, 203, 1000])
def test_blocks_are_the_curves_in_order(folder, stored, rows):
    whole = load_curves(folder)
    found = list(stored.blocks(rows))
    assert [len(block) for block in found] == [rows] * (N // rows) + ([N % rows] if N % rows else [])
    begin = 0
    for block in found:
        own = replace(whole.read(begin, begin + len(block)), text=())
        assert_same(block, own)
        begin += len(block)
    assert all(block.text == () for block in found)
    assert tuple(t for block in stored.blocks(rows, text=True) for t in block.text) == whole.text
    with pytest.raises(StoreError, match="a block of 0 examples"):
        next(stored.blocks(0))


def test_what_a_stored_set_says_of_itself(folder, stored):
    whole = load_curves(folder)
    assert (len(stored), stored.labels, stored.total_steps) == (N, ("x", "y", "z"), 40)
    assert stored.steps.tolist() == list(STEPS)
    assert (stored.values, stored.covariates) == (("margin",), ("tokens",))
    assert stored.nbytes == whole.log_probs.nbytes + whole.values["margin"].nbytes
    assert equal(stored.progress, whole.progress)
    assert equal(stored.gold, whole.gold)
    assert equal(stored.counts, whole.counts)
    assert stored.column("id").to_pylist() == list(whole.ids)
    assert stored.text(30, 32) == [dict(t) for t in whole.text[30:32]]
    ends = stored.at([0, 3]).read(20, 60)
    assert ends.steps.tolist() == [0, 40]
    assert equal(ends.log_probs, whole.log_probs[20:60][:, [0, 3]])
    assert equal(ends.values["margin"], whole.values["margin"][20:60][:, [0, 3]])
    with pytest.raises(StoreError, match="has no column 'colour'"):
        stored.column("colour")


METRICS = {
    "aulc": aulc,
    "relative": lambda c: aulc(c, relative=True),
    "soft": lambda c: aulc(c, loss="soft"),
    "log": lambda c: aulc(c, x="log"),
    "unlearning": unlearning,
    "unlearning, soft": lambda c: unlearning(c, loss="soft"),
    "cartography": cartography,
    "forgetting": lambda c: forgetting(c, include_start=True),
    "margin": margin,
    "gold_margins": gold_margins,
    "together": example_metrics,
}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_a_store_are_those_in_memory_to_the_bit(folder, stored, monkeypatch, name, workers):
    monkeypatch.setattr(blocks, "READ", 48)  # 203 is no multiple
    monkeypatch.setattr(threads, "available", lambda: workers)
    whole = METRICS[name](load_curves(folder))
    ours = METRICS[name](stored)
    if isinstance(whole, np.ndarray):
        assert equal(ours, whole)
        assert np.isfinite(whole).any()
    else:
        assert_same(ours, whole)


def test_opening_checks_what_it_is_asked_to(tmp_path, tiny_dataset):
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=1)
    with pytest.raises(StoreError, match="holds no tracking point yet"):
        open_curves(tmp_path, partial=True)
    writer.write(0, None, np.zeros((24, 3), np.float32))
    with pytest.raises(StoreError, match="has not ended"):
        open_curves(tmp_path)
    path = tmp_path / "curves/step-00000000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    open_curves(tmp_path, partial=True, verify=False)
    with pytest.raises(StoreError, match="not the manifest's checksum"):
        open_curves(tmp_path, partial=True)


def test_turning_in_steps_is_turning(monkeypatch):
    monkeypatch.setattr(reading, "TRANSPOSED", 3)
    columns = np.arange(77, dtype=np.float32).reshape(7, 11)
    assert reading._transposed(columns).flags.c_contiguous
    assert equal(reading._transposed(columns), np.ascontiguousarray(columns.T))


def test_memory_is_that_of_a_block(tmp_path):
    """250,000 examples at 20 points are 60 MB; walked in blocks of 8,192 with two threads they take a fraction."""
    size.write(tmp_path / "store", size.Sizes(250_000, 20, 1), size.Clock())
    program = """
import sys
from dissensus import threads
from benchmarks.analysis import peak_memory
from dissensus.metrics import aulc, blocks
from dissensus.store import open_curves
threads.available = lambda: 2
blocks.READ = 8_192
stored = open_curves(sys.argv[1], verify=False)
aulc(stored.at([0, 1]))  # whatever libraries take once
before = peak_memory()
aulc(stored)
print((peak_memory() - before) / 2**20)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40  # two blocks twice each, and the areas, are some 11 MB
