"""Where examples come from: one specification a corpus or format, told apart by its `source` key.

Paths are not part of a run's identity in any machine-dependent way: a relative path is looked up under
the data directory (`--data-dir`, `DISSENSUS_DATA`, the cache), and what a file held is fingerprinted in
the store.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dissensus.config.base import Spec


class ChaosNLISource(Spec):
    """ChaosNLI: 100 labels an item. Gold is the corpus' original label or the majority of the new ones."""

    source: Literal["chaosnli"] = "chaosnli"
    part: Literal["snli", "mnli", "alphanli"] = "snli"
    gold: Literal["original", "majority"] = "original"
    path: str | None = Field(
        None, description="A file in ChaosNLI's JSONL format; default: the published name."
    )


class NLISource(Spec):
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


class LeWiDiSource(Spec):
    """A data set in the harmonised JSON of SemEval-2023 task 11 (Learning With Disagreements)."""

    source: Literal["lewidi"] = "lewidi"
    dataset: str = Field("MD-Agreement", description="File stem before `_train.json`.")
    splits: tuple[str, ...] = ("train",)
    path: str | None = Field(None, description="One JSON file instead of dataset and splits.")


class TableSource(Spec):
    """Any table: JSONL, CSV, Parquet, or a `datasets` data set, with its columns named here.

    Label information comes as exactly one of `annotations`, `counts` or `distribution`, or, when all three
    are missing, as `gold` alone (no disagreement is then known).
    """

    source: Literal["table"] = "table"
    path: str | None = Field(None, description="JSONL, CSV, TSV or Parquet file (.gz allowed for text).")
    hub: str | None = Field(None, description="A `datasets` name instead of a path, e.g. 'org/name'.")
    config: str | None = Field(None, description="Configuration of the hub data set.")
    split: str = Field("train", description="Split of the hub data set.")
    id: str | None = Field(None, description="Column of stable ids; default: a hash of the text fields.")
    text: tuple[str, ...] = Field(description="Text columns, in order; their names become the field names.")
    labels: tuple[str, ...] | None = Field(
        None, description="Label names, in order; default: those seen, sorted."
    )
    gold: str | None = Field(None, description="Gold-label column; default: the majority of the annotations.")
    annotations: tuple[str, ...] | None = Field(
        None, description="Columns, one an annotator; or one column that holds a list or a separated string."
    )
    separator: str = Field(",", description="Separator of a one-column string of annotations.")
    counts: str | tuple[str, ...] | None = Field(
        None,
        description="One column a label (in the order of `labels`), or one column holding a mapping or list.",
    )
    distribution: str | tuple[str, ...] | None = Field(None, description="Like `counts`, with shares.")
    annotators: str | int | None = Field(
        None, description="With `distribution`: n as a column name or a number."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> TableSource:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' and 'hub'")
        given = [n for n in ("annotations", "counts", "distribution") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of annotations, counts, distribution; given: {', '.join(given)}")
        if not given and self.gold is None:
            raise ValueError("give one of annotations, counts, distribution, or at least gold")
        if self.distribution is not None and self.annotators is None:
            raise ValueError(
                "'distribution' needs 'annotators': the number of labels behind each distribution"
            )
        return self


class SimulatedSource(Spec):
    """The embedded panel: NLI-like pairs from a grammar, labelled by simulated annotators (see the docs)."""

    source: Literal["simulated"] = "simulated"
    size: int = Field(1000, ge=1, description="Number of examples.")
    split: Literal["tracked", "train"] = Field("tracked", description="Two disjoint streams of one seed.")
    seed: int = Field(0, ge=0)
    annotators: int = Field(100, ge=1, description="Labels an item.")
    mislabelled: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of items whose gold label is wrong on purpose."
    )


SourceSpec = Annotated[
    ChaosNLISource | NLISource | LeWiDiSource | TableSource | SimulatedSource, Field(discriminator="source")
]
