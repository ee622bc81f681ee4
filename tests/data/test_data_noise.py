"""Label noise: exact rate, the right labels, the same flips for the same seed, a mask that survives."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.data.noise import NoisyLabels, inject_noise, load_noise, save_noise
from dissensus.errors import DataError, SpecError

Kind = Literal["uniform", "annotators"]


@given(st.integers(1, 60), st.integers(2, 5), st.floats(0.01, 0.99), st.integers(0, 9))
def test_uniform_flips_exactly_the_rate_to_another_label(n: int, k: int, rate: float, seed: int) -> None:
    gold = np.random.default_rng(seed).integers(0, k, n)
    noisy = inject_noise(gold, np.zeros((n, k)), kind="uniform", rate=rate, rng=np.random.default_rng(seed))
    assert noisy.flipped.sum() == round(rate * n)
    np.testing.assert_array_equal(noisy.labels != gold, noisy.flipped)
    assert ((noisy.labels >= 0) & (noisy.labels < k)).all()


def test_uniform_takes_every_other_label_equally_often() -> None:
    gold = np.full(6000, 1)
    noisy = inject_noise(gold, np.zeros((6000, 4)), kind="uniform", rate=0.5, rng=np.random.default_rng(3))
    seen = np.bincount(noisy.labels[noisy.flipped], minlength=4)
    # 3,000 flips over three labels: 1,000 each, standard deviation sqrt(3000 * 1/3 * 2/3) = 26.
    assert seen[1] == 0
    assert np.abs(seen[[0, 2, 3]] - 1000).max() < 110


def test_annotator_noise_follows_the_items_own_distribution() -> None:
    counts = np.tile([5.0, 3.0, 1.0, 0.0], (4000, 1))
    noisy = inject_noise(
        np.zeros(4000, int), counts, kind="annotators", rate=0.9, rng=np.random.default_rng(4)
    )
    seen = np.bincount(noisy.labels[noisy.flipped], minlength=4) / 3600
    # Without gold (label 0), 3 : 1 : 0 remains; standard error sqrt(.75 * .25 / 3600) = 0.007.
    np.testing.assert_allclose(seen, [0, 0.75, 0.25, 0], atol=0.03)


def test_nearest_noise_goes_one_step_along_the_labels() -> None:
    gold = np.repeat([0, 1, 2], 2000)
    noisy = inject_noise(gold, np.zeros((6000, 3)), kind="nearest", rate=0.999, rng=np.random.default_rng(2))
    moved = (noisy.labels - gold)[noisy.flipped]
    assert set(np.abs(moved)) == {1}
    assert noisy.labels.min() == 0
    assert noisy.labels.max() == 2
    # From the middle to either side: standard error of a share over 2,000 is 0.011.
    middle = noisy.labels[(gold == 1) & noisy.flipped]
    assert abs((middle == 0).mean() - 0.5) < 0.05


def test_nearest_noise_between_two_labels_is_the_other_one() -> None:
    noisy = inject_noise(
        np.array([0, 1, -1]), np.zeros((3, 2)), kind="nearest", rate=0.99, rng=np.random.default_rng(0)
    )
    assert noisy.labels.tolist() == [1, 0, -1]


def test_unanimous_items_are_not_eligible_for_annotator_noise() -> None:
    counts = np.array([[5, 0], [4, 1], [5, 0], [3, 2], [0, 0]], dtype=float)
    gold = np.array([0, 0, 0, 0, 0])
    noisy = inject_noise(gold, counts, kind="annotators", rate=0.4, rng=np.random.default_rng(0))
    assert noisy.flipped.tolist() == [False, True, False, True, False]
    assert noisy.labels.tolist() == [0, 1, 0, 1, 0]
    with pytest.raises(
        DataError, match=r"must flip 3 of 5 labels, but only 2 items .* largest rate .* 0\.400"
    ):
        inject_noise(gold, counts, kind="annotators", rate=0.6, rng=np.random.default_rng(0))


def test_gold_that_nobody_chose_is_replaced_by_what_they_chose() -> None:
    noisy = inject_noise(
        np.array([0, 0]),
        np.array([[0.0, 0.0, 3.0]] * 2),
        kind="annotators",
        rate=0.99,
        rng=np.random.default_rng(0),
    )
    assert noisy.labels.tolist() == [2, 2]


def test_items_without_gold_stay_without() -> None:
    gold = np.array([-1, 0, 1, -1])
    noisy = inject_noise(gold, np.zeros((4, 2)), kind="uniform", rate=0.99, rng=np.random.default_rng(0))
    assert noisy.labels.tolist() == [-1, 1, 0, -1]


@pytest.mark.parametrize("kind", ["uniform", "nearest", "annotators"])
def test_same_seed_same_flips_and_inputs_untouched(kind: Kind) -> None:
    gold = np.arange(50) % 3
    counts = np.random.default_rng(1).integers(1, 9, (50, 3)).astype(float)
    kept_gold, kept_counts = gold.copy(), counts.copy()
    first, again, other = (
        inject_noise(gold, counts, kind=kind, rate=0.4, rng=np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.flipped != other.flipped).any()
    np.testing.assert_array_equal(gold, kept_gold)
    np.testing.assert_array_equal(counts, kept_counts)


def test_bad_requests() -> None:
    gold, counts, rng = np.array([0, 1]), np.zeros((2, 2)), np.random.default_rng(0)
    with pytest.raises(SpecError, match="'nearest' or 'annotators'"):
        inject_noise(gold, counts, kind="random", rate=0.1, rng=rng)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="above 0 and below 1"):
        inject_noise(gold, counts, kind="uniform", rate=1.0, rng=rng)
    with pytest.raises(DataError, match=r"expected \(n,\) and \(n, K\)"):
        inject_noise(gold, counts[:1], kind="uniform", rate=0.1, rng=rng)


def test_the_mask_is_joined_by_id(tmp_path: Path) -> None:
    path = tmp_path / "flips.parquet"
    noisy = NoisyLabels(np.array([1, 0, 2]), np.array([True, False, True]))
    save_noise(path, ["a", "b", "c"], np.array([0, 0, 1]), noisy)
    back = load_noise(path, ["c", "a", "b"])
    assert back.labels.tolist() == [2, 1, 0]
    assert back.flipped.tolist() == [True, True, False]
    assert [p.name for p in tmp_path.iterdir()] == ["flips.parquet"]  # nothing beside it is left over
    with pytest.raises(DataError, match="'d' is missing"):
        load_noise(path, ["a", "b", "d"])
    with pytest.raises(DataError, match="holds 3 ids, not the 2"):
        load_noise(path, ["a", "b"])
    with pytest.raises(DataError, match="an id repeats"):
        save_noise(path, ["a", "a", "c"], np.array([0, 0, 1]), noisy)


def test_a_damaged_mask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the mask"):
        load_noise(tmp_path / "none.parquet", ["a"])
    (tmp_path / "bad.parquet").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="cannot read the mask"):
        load_noise(tmp_path / "bad.parquet", ["a"])
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has the columns"):
        load_noise(tmp_path / "other.parquet", ["a"])
