"""SNLI (Bowman et al., EMNLP 2015) and MultiNLI (Williams et al., NAACL 2018): pairs with a gold label.

Four forms are read: the published files (`sentence1`, `sentence2`, `gold_label`, and `annotator_labels` in JSONL or
`label1` to `label5` in CSV), a derived pool (`premise`, `hypothesis`, `label`, `split`), the `datasets` copies on the
Hugging Face hub, and what `datasets` writes of them to JSONL or CSV (`premise`, `hypothesis`, `label`: 0, 1, 2, or -1
for none). Labels come in ChaosNLI's order, so that a training pool and a tracked set agree. Pairs without a gold label
('-': no majority among the annotators) are left out, and the data set's notes say how many.
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
from dissensus.data.sources.columns import ANNOTATIONS, ANNOTATORS, COUNTS, normal_name
from dissensus.data.sources.paths import data_dirs, find_file, resolve_path
from dissensus.data.sources.reading import Record, cell_name, label_name, load_hub, read_jsonl, shown
from dissensus.data.sources.tabular import read_table
from dissensus.errors import DataError

_NUMBERS = ("0", "1", "2")
_ONE_LABEL = re.compile(r"label_?[1-5]")

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
    path: str | None = Field(
        None, description="One JSONL, CSV, TSV or Parquet file (.gz allowed for text) instead of the splits."
    )
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
    """Read files in one of the known forms (told apart by their fields) into one data set.

    Args:
        paths: files, joined in this order.
        name: of the data set.
        splits: keep pool records of these splits, in this order; None keeps all.

    Raises:
        DataError: a line is of no known form, has an unknown label, or an id repeats.
    """
    examples: list[Example] = []
    dropped, forms = 0, set()
    for path in paths:
        for number, record in enumerate(_records(path), 1):
            if "gold_label" in record.values:
                form, example = "the published files", _published(record)
            elif "split" in record.values:
                form, example = "the derived pool", _pooled(record)
            else:
                form, example = _BY_NUMBER, _numbered(record, f"{name}-{number}", {})
            forms.add(form)
            if example is None:
                dropped += 1
            elif splits is None or example.extra.get("split") in splits:
                examples.append(example)
    if splits is not None:
        examples.sort(key=lambda e: splits.index(str(e.extra["split"])))
    return _dataset(name, examples, f"read from {' and '.join(sorted(forms))}", dropped)


_BY_NUMBER = f"a file that `datasets` wrote: 0, 1, 2 are {', '.join(NLI_LABELS)}"


def _records(path: Path) -> Iterable[Record]:
    lines = {".jsonl", ".ndjson"} & {suffix.lower() for suffix in path.suffixes}
    return read_jsonl(path) if lines else read_table(path).records


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
    in_columns = [v for c, v in record.values.items() if _ONE_LABEL.fullmatch(normal_name(c))]
    annotator_labels = record.values.get("annotator_labels") or in_columns
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


def _numbered(record: Record, otherwise: str, extra: dict[str, str | float | bool]) -> Example | None:
    """A pair as `datasets` has it, with its label as a number in our order; -1 (or nothing) stands for '-'."""
    label = label_name(record.need("label"))
    if label in (None, "-1", "-"):
        return None
    if label not in _NUMBERS:
        raise record.error(f"the label is {shown(record.need('label'))}; expected 0, 1 or 2, or -1 for none")
    genre = cell_name(record.values.get("genre"))
    return Example(
        id=next(filter(None, (cell_name(record.values.get(c)) for c in ("pairID", "id", "uid"))), otherwise),
        text={name: record.need_text(name) for name in ("premise", "hypothesis")},
        gold=_NUMBERS.index(label),
        counts=(0.0,) * len(NLI_LABELS),
        extra=extra if genre is None else {**extra, "genre": genre},
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
            example = _numbered(record, f"{spec.source}-{split}-{number}", {"split": split})
            if example is None:
                dropped += 1
            else:
                examples.append(example)
    return _dataset(name, examples, f"read from {repository} on the hub", dropped)


def recognise(sample: FileSample) -> Recognised | None:
    """A published SNLI or MNLI file, the derived pool, or a file that `datasets` wrote, by its fields."""
    columns = sample.columns
    labelled = {normal_name(column) for column in columns} & {*COUNTS, *ANNOTATIONS}
    if {"gold_label", "sentence1", "sentence2"} <= columns:
        form = "SNLI/MNLI as published"
    elif labelled or not {"premise", "hypothesis", "label"} <= columns:
        return None
    elif {"id", "split"} <= columns:
        form = "an SNLI pool"
    elif _all_numbers(sample):
        form = "SNLI/MNLI pairs as `datasets` writes them, whose class names are lost"
    else:
        return None
    source = (
        "mnli"
        if {"mnli", "multinli"} & set(re.split(r"[^a-z]+", sample.path.name.casefold()))
        or "promptID" in columns
        else "snli"
    )
    spec = NLISource.parse({"source": source, "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, form)


def _all_numbers(sample: FileSample) -> bool:
    """Whether every label is one of NLI's numbers, and nothing says who gave it or that a row is an annotation."""
    assert sample.table is not None  # it has columns
    if {normal_name(column) for column in sample.columns} & {*ANNOTATORS}:
        return False
    seen = {label_name(cell) for cell in sample.table.cells("label")}
    return seen <= {*_NUMBERS, "-1", None} and "2" in seen


SOURCE = Source(NLISource, load, tuple(PUBLISHED.values()), recognise)
