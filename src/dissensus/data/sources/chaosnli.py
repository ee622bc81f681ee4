"""ChaosNLI: 100 labels an item for SNLI, MNLI and alphaNLI development items (Nie, Zhou and Bansal, EMNLP 2020).

`label_count` is in the order entailment, neutral, contradiction (1, 2 for alphaNLI). The gold label is the
corpus' original one (`old_label`) or the majority of the hundred; the specification says which. Kept in each
example's `extra`: the original gold label, the original five labels and the published entropy (bits).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from dissensus.config.sources import ChaosNLISource
from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.notes import tie_notes
from dissensus.data.sources.paths import find_file, resolve_path
from dissensus.data.sources.reading import Record, label_name, read_jsonl, shown

NLI_LABELS = ("entailment", "neutral", "contradiction")
ALPHANLI_LABELS = ("1", "2")
FILES = {
    "snli": "chaosNLI_snli.jsonl",
    "mnli": "chaosNLI_mnli_m.jsonl",
    "alphanli": "chaosNLI_alphanli.jsonl",
}
HOMEPAGE = "https://github.com/easonnie/ChaosNLI"

_SHORT = {"e": 0, "n": 1, "c": 2}


def load(spec: ChaosNLISource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load one part of ChaosNLI; see `dissensus.data.sources.load_source`."""
    if spec.path is not None:
        path = resolve_path(spec.path, data_dir)
    else:
        file = FILES[spec.part]
        folders = ("chaosnli/", "chaosNLI_v1.0/", "chaosnli/chaosNLI_v1.0/", "")
        path = find_file(
            [f + file for f in folders], data_dir, what=f"ChaosNLI ({spec.part})", pull="chaosnli"
        )
    return read(path, part=spec.part, gold=spec.gold)


def read(
    path: Path,
    *,
    part: Literal["snli", "mnli", "alphanli"] = "snli",
    gold: Literal["original", "majority"] = "original",
) -> AnnotatedDataset:
    """Read one file in ChaosNLI's JSONL format.

    Raises:
        DataError: a line is not a ChaosNLI record of this part, or an id repeats.
    """
    labels = ALPHANLI_LABELS if part == "alphanli" else NLI_LABELS
    fields = ("obs1", "obs2", "hyp1", "hyp2") if part == "alphanli" else ("premise", "hypothesis")
    examples = []
    for record in read_jsonl(path):
        counts = _counts(record, labels)
        original = _label(record, "old_label", labels)
        text = record.need_mapping("example")
        examples.append(
            Example(
                id=record.need_name("uid"),
                text={name: text.need_text(name) for name in fields},
                gold=original if gold == "original" else majority(counts),
                counts=counts,
                extra={"original_gold": labels[original], **_extra(record)},
            )
        )
    notes = [f"gold label: {'the original one' if gold == 'original' else 'majority of the 100 new labels'}"]
    if gold == "majority":
        notes += tie_notes((example.counts for example in examples), labels)
    return AnnotatedDataset(f"chaosnli-{part}", labels, tuple(examples), notes=tuple(notes))


def _counts(record: Record, labels: tuple[str, ...]) -> tuple[float, ...]:
    given = record.need("label_count")
    # The upper bound only keeps absurd numbers from overflowing.
    whole = isinstance(given, list) and all(type(c) is int and 0 <= c < 1e9 for c in given)
    if not whole or len(given) != len(labels):
        raise record.error(
            f"'label_count' is {shown(given)}; expected {len(labels)} whole numbers, for {', '.join(labels)}"
        )
    return tuple(float(c) for c in given)


def _label(record: Record, key: str, labels: tuple[str, ...]) -> int:
    name = record.need_name(key)
    if name in labels:
        return labels.index(name)
    if labels == NLI_LABELS and name in _SHORT:
        return _SHORT[name]
    raise record.error(f"{key!r} is {name!r}; expected one of {', '.join(labels)}")


def _extra(record: Record) -> dict[str, str | float | bool]:
    extra: dict[str, Any] = {}
    if "old_labels" in record.values:
        given = record.values["old_labels"]
        if not isinstance(given, list):
            raise record.error(f"'old_labels' is {shown(given)}; expected a list of labels")
        extra["original_labels"] = ",".join(label_name(label) or "" for label in given)
    if "entropy" in record.values:
        published = record.values["entropy"]
        if not isinstance(published, int | float):
            raise record.error(f"'entropy' is {published!r:.60}; expected a number of bits")
        extra["published_entropy"] = float(published)
    return extra
