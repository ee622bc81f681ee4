"""ChaosNLI: 100 labels per item for SNLI, MNLI and alphaNLI development items (Nie, Zhou and Bansal, EMNLP 2020).

`label_count` is in the order entailment, neutral, contradiction (1, 2 for alphaNLI). The gold label is the
corpus' original one (`old_label`) or the majority of the hundred; the specification says which. Kept in each
example's `extra`: the original gold label, the original five labels and the published entropy (bits).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.notes import tie_notes
from dissensus.data.sources.base import FileSample, PublishedData, Recognised, RemoteFile, Source
from dissensus.data.sources.paths import find_file, resolve_path
from dissensus.data.sources.reading import Record, label_name, read_jsonl, shown

NLI_LABELS = ("entailment", "neutral", "contradiction")
ALPHANLI_LABELS = ("1", "2")
FILES = {
    "snli": "chaosNLI_snli.jsonl",
    "mnli": "chaosNLI_mnli_m.jsonl",
    "alphanli": "chaosNLI_alphanli.jsonl",
}

SIZES = {"snli": 1514, "mnli": 1599, "alphanli": 1532}
"""Items of the published files."""

_SHORT = {"e": 0, "n": 1, "c": 2}

# The publisher's own Dropbox archive (named on the homepage) was reported dead by more than one public repository;
# this mirror of the published files is pinned to a commit and to the checksums of the published content. AlphaNLI
# is not registered: its checksum could not be confirmed.
_CHAOSNLI = (
    "https://huggingface.co/datasets/earino/chaosnli/resolve/eb7cc18dbfa0f161d93a2b22c7856ca0faafcf2b/raw/"
)
_CHAOSNLI_FILES = {
    "chaosNLI_snli.jsonl": "99f9015ddda7d85f66a087452bc30d53974314fe27e7d589e2f41ad44bd509c1",
    "chaosNLI_mnli_m.jsonl": "8eb49b589488e7b1a9ec95fb8a864bd50f0509b4f808eed0aed3f8167617664d",
}
PUBLISHED = PublishedData(
    name="chaosnli",
    what="ChaosNLI: 100 labels for each of 1,514 SNLI and 1,599 MNLI development items",
    licence="CC BY-NC 4.0",
    citation="Nie, Zhou and Bansal, EMNLP 2020",
    homepage="https://github.com/easonnie/ChaosNLI",
    files=tuple(RemoteFile(_CHAOSNLI + name, name, sha) for name, sha in _CHAOSNLI_FILES.items()),
    expects=tuple(_CHAOSNLI_FILES),
)


class ChaosNLISource(SourceSpec):
    """ChaosNLI: 100 labels per item. Gold is the corpus' original label or the majority of the new ones."""

    source: Literal["chaosnli"] = "chaosnli"
    part: Literal["snli", "mnli", "alphanli"] = "snli"
    gold: Literal["original", "majority"] = "original"
    path: str | None = Field(
        None, description="A file in ChaosNLI's JSONL format; default: the published name."
    )

    def in_words(self) -> str:
        """How a report names the data."""
        return f"ChaosNLI ({self.part})"

    def known_size(self) -> int | None:
        """Items of the published file; of a file of one's own it is not known."""
        return SIZES[self.part] if self.path is None else None

    def gold_from(self) -> str:
        """The corpus' own label, beside the newer annotations, or their majority."""
        return self.gold


def load(spec: ChaosNLISource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load one part of ChaosNLI; see `dissensus.data.sources.load_source`."""
    if spec.path is not None:
        path = resolve_path(spec.path, data_dir)
    else:
        file = FILES[spec.part]
        folders = ("chaosnli/", "chaosNLI_v1.0/", "chaosnli/chaosNLI_v1.0/", "")
        path = find_file(
            [f + file for f in folders], data_dir, what=f"ChaosNLI ({spec.part})", published=PUBLISHED
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
    counts = record.need("label_count")
    # The upper bound only keeps absurd numbers from overflowing.
    valid = isinstance(counts, list) and all(type(c) is int and 0 <= c < 1e9 for c in counts)
    if not valid or len(counts) != len(labels):
        raise record.error(
            f"'label_count' is {shown(counts)}; expected {len(labels)} whole numbers, for {', '.join(labels)}"
        )
    return tuple(float(c) for c in counts)


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
        old_labels = record.values["old_labels"]
        if not isinstance(old_labels, list):
            raise record.error(f"'old_labels' is {shown(old_labels)}; expected a list of labels")
        extra["original_labels"] = ",".join(label_name(label) or "" for label in old_labels)
    if "entropy" in record.values:
        published = record.values["entropy"]
        if not isinstance(published, int | float):
            raise record.error(f"'entropy' is {published!r:.60}; expected a number of bits")
        extra["published_entropy"] = float(published)
    return extra


def recognise(sample: FileSample) -> Recognised | None:
    """A file of ChaosNLI's, by its fields; which part it is by the texts and the file's name."""
    if not {"label_count", "example"} <= sample.columns or sample.table is None:
        return None
    example = sample.table.records[0].values["example"]
    alpha = isinstance(example, Mapping) and "obs1" in example
    part = "alphanli" if alpha else "mnli" if "mnli" in sample.path.name.casefold() else "snli"
    spec = ChaosNLISource.parse(
        {"source": "chaosnli", "part": part, "path": str(sample.path)}, str(sample.path)
    )
    return Recognised(spec, f"ChaosNLI JSONL ({part})")


SOURCE = Source(ChaosNLISource, load, (PUBLISHED,), recognise)
