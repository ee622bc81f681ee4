"""The loaders on the real corpora. Skipped where these are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dissensus.data.agreement import annotation_entropy, gold_share
from dissensus.data.check import check_dataset, sniff
from dissensus.data.sources import load_source
from dissensus.data.sources.chaosnli import ChaosNLISource
from dissensus.data.sources.lewidi import LeWiDiSource
from dissensus.data.sources.nli import NLISource


def test_entropy_equals_the_published_field_for_every_chaosnli_item(data_dir: Path) -> None:
    worst, items = 0.0, 0
    for part in ("snli", "mnli"):
        data = load_source(ChaosNLISource(part=part), data_dir=data_dir)
        published = np.array([e.extra["published_entropy"] for e in data], dtype=np.float64)
        worst = max(worst, float(np.abs(annotation_entropy(data.counts) - published).max()))
        items += len(data)
    assert items == 3113
    assert worst < 1e-9


def test_chaosnli_gold_original_and_majority(data_dir: Path) -> None:
    original = load_source(ChaosNLISource(part="snli"), data_dir=data_dir)
    majority = load_source(ChaosNLISource(part="snli", gold="majority"), data_dir=data_dir)
    assert original.labels == ("entailment", "neutral", "contradiction")
    assert original.ids == majority.ids
    assert original.fingerprint != majority.fingerprint
    # The majority of the hundred is, by definition, never chosen by fewer than a third of them.
    assert gold_share(majority.counts, majority.gold).min() >= 1 / 3
    assert gold_share(original.counts, original.gold).min() < 0.1
    item = original["2407214681.jpg#0r1n"]
    assert item.counts == (30.0, 70.0, 0.0)
    assert item.extra["original_labels"] == "neutral,neutral,neutral,entailment,entailment"


def test_the_snli_pool_shares_labels_but_no_pair_with_chaosnli(data_dir: Path) -> None:
    pool = load_source(NLISource(source="snli"), data_dir=data_dir)
    tracked = load_source(ChaosNLISource(part="snli"), data_dir=data_dir)
    assert len(pool) == 18152
    assert "read from the derived pool" in pool.notes
    assert pool.labels == tracked.labels
    assert pool.fields == tracked.fields == ("premise", "hypothesis")
    assert not {e.joined_text for e in pool} & {e.joined_text for e in tracked}
    dev = load_source(NLISource(source="snli", splits=("dev",)), data_dir=data_dir)
    test = load_source(NLISource(source="snli", splits=("test",)), data_dir=data_dir)
    assert dev.ids + test.ids == pool.ids


@pytest.mark.parametrize(
    ("name", "sizes", "annotators"), [("MD-Agreement", 10753, 5), ("HS-Brexit", 1120, 6)]
)
def test_lewidi(data_dir: Path, name: str, sizes: int, annotators: int) -> None:
    data = load_source(LeWiDiSource(dataset=name, splits=("train", "dev", "test")), data_dir=data_dir)
    assert len(data) == sizes
    assert data.labels == ("0", "1")
    assert (data.counts.sum(axis=1) == annotators).all()
    assert all(len(e.annotations) == annotators for e in data)
    assert (gold_share(data.counts, data.gold) >= 0.5).all()
    assert {e.extra["split"] for e in data} == {"train", "dev", "test"}


def test_every_real_file_is_recognised(data_dir: Path) -> None:
    report = check_dataset(sniff(data_dir / "chaosnli" / "chaosNLI_mnli_m.jsonl"))
    assert report.rows == 1599
    assert report.annotators == (100.0, 100.0, 100.0)
    assert sum(report.entropy_histogram) == 1599
    assert report.rejected_gold > 500  # the original gold label is often the hundred's second choice
    pool = check_dataset(sniff(data_dir / "snli" / "snli_dev_test_pool.jsonl.gz"))
    assert pool.without_annotations == pool.rows == 18152
    assert pool.annotators is None
    tweets = check_dataset(sniff(data_dir / "lewidi" / "HS-Brexit_dev.json"))
    assert tweets.rows == 168
    assert tweets.named_annotators == 6
