"""SNLI (Bowman et al., EMNLP 2015) and MultiNLI (Williams et al., NAACL 2018): pairs with a gold label.

Three forms are read: the published JSONL (`sentence1`, `sentence2`, `gold_label`, `annotator_labels`), a derived
pool (`premise`, `hypothesis`, `label`, `split`), and the `datasets` copies on the Hugging Face hub. Labels come in
ChaosNLI's order, so that a training pool and a tracked set agree. Pairs without a gold label ('-': no majority
among the annotators) are left out, and the data set's notes say how many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from dissensus.config.base import nearest
from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.sources.base import FileSample, PublishedData, Recognised, RemoteFile, Source
from dissensus.data.sources.chaosnli import NLI_LABELS
from dissensus.data.sources.columns import ANNOTATIONS, COUNTS, normal_name
from dissensus.data.sources.paths import data_dirs, find_file, resolve_path
from dissensus.data.sources.reading import Record, cell_name, label_name, load_hub, read_jsonl, shown
from dissensus.errors import DataError

POOL = "snli/snli_dev_test_pool.jsonl.gz"

# Split -> (stem of the published file, split on the hub). MultiNLI's test labels were never published.
_SPLITS = {
    "snli": {
        "train": ("snli_1.0_train", "train"),
        "dev": ("snli_1.0_dev", "validation"),
        "test": ("snli_1.0_test", "test"),
    },
    "mnli": {
        "train": ("multinli_1.0_train", "train"),
        "dev_matched": ("multinli_1.0_dev_matched", "validation_matched"),
        "dev_mismatched": ("multinli_1.0_dev_mismatched", "validation_mismatched"),
    },
}
_FOLDERS = {"snli": "snli_1.0", "mnli": "multinli_1.0"}
_HUB = {"snli": "stanfordnlp/snli", "mnli": "nyu-mll/multi_nli"}

# Several independent repositories pin these checksums.
PUBLISHED = {
    "snli": PublishedData(
        name="snli",
        what="SNLI 1.0: 570,000 pairs, one to five labels each",
        licence="CC BY-SA 4.0",
        citation="Bowman et al., EMNLP 2015",
        homepage="https://nlp.stanford.edu/projects/snli/",
        files=(
            RemoteFile(
                "https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
                "",
                "afb3d70a5af5d8de0d9d81e2637e0fb8c22d1235c2749d83125ca43dab0dbd3e",
                archive=True,
            ),
        ),
        expects=tuple(f"snli_1.0/snli_1.0_{split}.jsonl" for split in ("train", "dev", "test")),
    ),
    "mnli": PublishedData(
        name="mnli",
        what="MultiNLI 1.0: 433,000 pairs in ten genres, one to five labels each",
        licence="by genre, mostly the OANC's; see the paper",
        citation="Williams, Nangia and Bowman, NAACL 2018",
        homepage="https://cims.nyu.edu/~sbowman/multinli/",
        files=(
            RemoteFile(
                "https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",
                "",
                "049f507b9e36b1fcb756cfd5aeb3b7a0cfcb84bf023793652987f7e7e0957822",
                archive=True,
            ),
        ),
        expects=tuple(
            f"multinli_1.0/multinli_1.0_{split}.jsonl" for split in ("train", "dev_matched", "dev_mismatched")
        ),
    ),
}


class NLISource(SourceSpec):
    """SNLI or MNLI pairs with a gold label, from the published JSONL (or a derived pool), or from the hub."""

    source: Literal["snli", "mnli"]
    splits: tuple[str, ...] = Field(
        ("dev", "test"),
        description="Splits to join, in this order; MNLI: train, dev_matched, dev_mismatched.",
    )
    path: str | None = Field(None, description="One JSONL file (.gz allowed) instead of the splits.")
    hub: bool = Field(False, description="Read the `datasets` copy on the Hugging Face hub.")

    @model_validator(mode="before")
    @classmethod
    def _labelled_splits(cls, data: Any) -> Any:
        # MultiNLI has two development sets, and its test labels were never published.
        if isinstance(data, dict) and data.get("source") == "mnli" and "splits" not in data:
            return {**data, "splits": ("dev_matched", "dev_mismatched")}
        return data

    def in_words(self) -> str:
        """How a report names the data."""
        return f"{self.source.upper()} pairs ({', '.join(self.splits)})"


def load(spec: NLISource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load SNLI or MNLI pairs; see `dissensus.data.sources.load_source`.

    Without a path, SNLI's dev and test pairs come from the derived pool if a data folder holds it (it leaves out
    every ChaosNLI pair), else from the published files. The notes of the data set say which.
    """
    if spec.path is not None:
        return read([resolve_path(spec.path, data_dir)], name=spec.source)
    known = _SPLITS[spec.source]
    for split in spec.splits:
        if split not in known:
            raise DataError(f"{spec.source} has no labelled split {split!r}; {nearest(split, known)}")
    if len(set(spec.splits)) < len(spec.splits) or not spec.splits:
        raise DataError(f"splits of {spec.source} must be given, each once; given: {list(spec.splits)}")
    name = f"{spec.source}-{'+'.join(spec.splits)}"
    if spec.hub:
        return _from_hub(spec, name)
    if spec.source == "snli" and set(spec.splits) <= {"dev", "test"}:
        pool = next((d / POOL for d in data_dirs(data_dir) if (d / POOL).is_file()), None)
        if pool is not None:
            return read([pool], name=name, splits=spec.splits)
    folder = _FOLDERS[spec.source]
    paths = []
    for split in spec.splits:
        stem = known[split][0]
        places = [
            f"{start}{stem}.jsonl{end}" for start in _places(spec.source, folder) for end in ("", ".gz")
        ]
        paths.append(
            find_file(places, data_dir, what=f"{spec.source} {split}", published=PUBLISHED[spec.source])
        )
    return read(paths, name=name)


def read(paths: Iterable[Path], *, name: str, splits: tuple[str, ...] | None = None) -> AnnotatedDataset:
    """Read files in the published or the pool's format (told apart by their fields) into one data set.

    Args:
        paths: files, joined in this order.
        name: of the data set.
        splits: keep pool records of these splits, in this order; None keeps all.

    Raises:
        DataError: a line is neither format, has an unknown label, or an id repeats.
    """
    examples: list[Example] = []
    dropped, forms = 0, set()
    for path in paths:
        for record in read_jsonl(path):
            published = "gold_label" in record.values
            forms.add("the published files" if published else "the derived pool")
            example = _published(record) if published else _pooled(record)
            if example is None:
                dropped += 1
            elif splits is None or example.extra.get("split") in splits:
                examples.append(example)
    if splits is not None:
        examples.sort(key=lambda e: splits.index(str(e.extra["split"])))
    return _dataset(name, examples, f"read from {' and '.join(sorted(forms))}", dropped)


def _places(source: str, folder: str) -> Iterator[str]:
    yield from (f"{source}/{folder}/", f"{source}/", f"{folder}/", "")


def _dataset(name: str, examples: list[Example], origin: str, dropped: int) -> AnnotatedDataset:
    if not examples:
        raise DataError(f"{name} ({origin}) has no pair with a gold label in the splits that were asked for")
    notes = [origin, *([f"{dropped} pairs without a gold label left out"] if dropped else [])]
    return AnnotatedDataset(name, NLI_LABELS, tuple(examples), notes=tuple(notes))


def _published(record: Record) -> Example | None:
    gold = record.need_name("gold_label")
    if gold == "-":
        return None
    annotator_labels = record.values.get("annotator_labels") or []
    if not isinstance(annotator_labels, list):
        raise record.error(f"'annotator_labels' is {shown(annotator_labels)}; expected a list of labels")
    counts = [0.0] * len(NLI_LABELS)
    for label in filter(None, map(label_name, annotator_labels)):
        counts[_index(record, label)] += 1
    genre = cell_name(record.values.get("genre"))
    extra: dict[str, str | float | bool] = {} if genre is None else {"genre": genre}
    return Example(
        id=record.need_name("pairID"),
        text={"premise": record.need_text("sentence1"), "hypothesis": record.need_text("sentence2")},
        gold=_index(record, gold),
        counts=tuple(counts),
        extra=extra,
    )


def _pooled(record: Record) -> Example | None:
    gold = record.need_name("label")
    if gold == "-":
        return None
    extra: dict[str, str | float | bool] = {"split": record.need_name("split")}
    shared = record.values.get("premise_in_chaosnli")
    if isinstance(shared, bool):
        extra["premise_in_chaosnli"] = shared
    return Example(
        id=record.need_name("id"),
        text={"premise": record.need_text("premise"), "hypothesis": record.need_text("hypothesis")},
        gold=_index(record, gold),
        counts=(0.0,) * len(NLI_LABELS),
        extra=extra,
    )


def _index(record: Record, label: str) -> int:
    if label not in NLI_LABELS:
        raise record.error(
            f"the label is {label!r}; expected one of {', '.join(NLI_LABELS)}, or '-' for none"
        )
    return NLI_LABELS.index(label)


def _from_hub(spec: NLISource, name: str) -> AnnotatedDataset:
    repository = _HUB[spec.source]
    examples: list[Example] = []
    dropped = 0
    for split in spec.splits:
        rows: Any = load_hub(repository, split=_SPLITS[spec.source][split][1])
        for number, row in enumerate(rows):
            record = Record(Path(repository), f"{split}, row {number + 1}", row)
            label = record.need("label")
            if label is None or label == -1:  # stands for '-'
                dropped += 1
                continue
            if label not in (0, 1, 2):  # in our order
                raise record.error(f"the label is {shown(label)}; expected 0, 1 or 2, or -1 for none")
            examples.append(
                Example(
                    id=cell_name(row.get("pairID")) or f"{spec.source}-{split}-{number}",
                    text={name: record.need_text(name) for name in ("premise", "hypothesis")},
                    gold=int(label),
                    counts=(0.0,) * len(NLI_LABELS),
                    extra={"split": split},
                )
            )
    return _dataset(name, examples, f"read from {repository} on the hub", dropped)


def recognise(sample: FileSample) -> Recognised | None:
    """A published SNLI or MNLI file, or the derived pool, by its fields."""
    columns = sample.columns
    published = {"gold_label", "sentence1", "sentence2"} <= columns
    labelled = {normal_name(column) for column in columns} & {*COUNTS, *ANNOTATIONS}
    if not published and (not {"id", "premise", "hypothesis", "label", "split"} <= columns or labelled):
        return None
    source = (
        "mnli" if {"mnli", "multinli"} & set(re.split(r"[^a-z]+", sample.path.name.casefold())) else "snli"
    )
    spec = NLISource.parse({"source": source, "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "SNLI/MNLI JSONL" if published else "an SNLI pool")


SOURCE = Source(NLISource, load, tuple(PUBLISHED.values()), recognise)
