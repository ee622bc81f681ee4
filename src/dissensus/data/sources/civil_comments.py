"""Civil Comments with Jigsaw's annotations (Borkan et al., 2019; the Kaggle files of "Unintended Bias in Toxicity").

Two forms are read: shares of annotators with their number (`train.csv`, `all_data.csv`), and single annotations
(`toxicity_individual_annotations.csv`), whose texts stand in `all_data.csv`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from dissensus.config.base import nearest
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.presets import Origin, PresetSource, load, need_columns, with_column
from dissensus.data.sources.reading import Record, cell_name, label_name, shown, whole_if_near
from dissensus.data.sources.table import TableSource, TextTable
from dissensus.data.sources.tabular import Table
from dissensus.errors import DataError

LABELS = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual_explicit",
)
IDENTITIES = (
    *("male", "female", "transgender", "other_gender", "heterosexual", "homosexual_gay_or_lesbian"),
    *("bisexual", "other_sexual_orientation", "christian", "jewish", "muslim", "hindu", "buddhist"),
    *("atheist", "other_religion", "black", "white", "asian", "latino", "other_race_or_ethnicity"),
    *("physical_disability", "intellectual_or_learning_disability", "psychiatric_or_mental_illness"),
    "other_disability",
)
_ANSWERS = ("no", "yes")
_OTHER_NAMES = {"toxicity": ("target", "toxic"), "severe_toxicity": ("severe_toxic",)}
_COUNTED, _ANSWER = "answers counted", "answer given"  # columns that are added


class CivilCommentsSource(PresetSource):
    """Civil Comments: whether annotators found a comment toxic (or another `label`), as the labels no and yes."""

    source: Literal["civil_comments"] = "civil_comments"
    label: str = Field(
        "toxicity",
        description=f"What was asked: {', '.join(LABELS)}; or an identity that is mentioned, such as female.",
    )
    texts: TextTable | None = Field(
        None, description="Of single annotations: the file that holds the column `comment_text`, and its ids."
    )

    title: ClassVar[str] = "Civil Comments"
    origin: ClassVar[Origin] = Origin(
        files=("civil_comments/all_data.csv", "civil_comments/train.csv"),
        homepage="https://www.kaggle.com/c/jigsaw-unintended-bias-in-toxicity-classification",
    )

    @field_validator("label")
    @classmethod
    def _known(cls, label: str) -> str:
        if label not in (*LABELS, *IDENTITIES):
            raise ValueError(f"there is no label {label!r}; {nearest(label, (*LABELS, *IDENTITIES))}")
        return label

    def _aspect(self) -> str:
        return f", {self.label}"

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """Shares become counts; 1 and 0 become yes and no."""
        names = (self.label, *_OTHER_NAMES.get(self.label, ()))
        column = next((name for name in names if name in table.columns), self.label)
        need_columns(table, ("id", column), self.title)
        if "worker" in table.columns:
            return self._single(table, column)
        number = "identity_annotator_count" if self.label in IDENTITIES else "toxicity_annotator_count"
        need_columns(table, ("comment_text", number), self.title)
        counted = with_column(table, _COUNTED, [_counts(r, column, number) for r in table.records])
        return counted, TableSource(
            path=str(counted.path), id="id", text=("comment_text",), counts=_COUNTED, labels=_ANSWERS
        )

    def _single(self, table: Table, column: str) -> tuple[Table, TableSource]:
        if self.texts is None and "comment_text" not in table.columns:
            raise DataError(
                f"{table.path} holds annotations without the comments. Name the file that holds them: "
                f"`{{source: civil_comments, path: {table.path.name}, texts: {{path: all_data.csv, id: id}}}}`"
            )
        given = with_column(table, _ANSWER, [_yes_or_no(r, column) for r in table.records])
        return given, TableSource(
            path=str(given.path),
            text=("comment_text",),
            texts=self.texts,
            item="id",
            annotator="worker",
            annotation=_ANSWER,
            labels=_ANSWERS,
        )


def _counts(record: Record, column: str, number: str) -> dict[str, float]:
    """No and yes as numbers of annotators; empty where nobody was asked."""
    share, n = cell_name(record.need(column)), cell_name(record.need(number))
    if share is None or share.casefold() == "nan":
        return {}
    try:
        said, asked = float(share), float(n or "")
    except ValueError:
        said = asked = -1.0
    if not (0 <= said <= 1 and 0 <= asked < 1e9):
        raise record.error(
            f"{column!r} is {shown(record.need(column))} of {number!r} = {shown(record.need(number))}; expected a "
            "share from 0 to 1 and a number of annotators"
        )
    yes = whole_if_near(said * asked)
    return {"no": asked - yes, "yes": yes}


def _yes_or_no(record: Record, column: str) -> str | None:
    value = label_name(record.need(column))
    if value is None:
        return None
    if value.casefold() not in ("0", "1", "false", "true"):
        raise record.error(f"{column!r} is {shown(record.need(column))}; expected 0 or 1")
    return _ANSWERS[value.casefold() in ("1", "true")]


def recognise(sample: FileSample) -> Recognised | None:
    """Either form, by its columns; single annotations with the comments of a file beside them."""
    columns, path = sample.columns, str(sample.path)
    if {"id", "worker", "toxic"} <= columns:
        keys: dict[str, Any] = {"source": "civil_comments", "path": path}
        beside = sample.path.with_name("all_data.csv")
        if "comment_text" not in columns and beside.is_file():
            keys["texts"] = {"path": str(beside), "id": "id"}
        return Recognised(CivilCommentsSource.parse(keys, path), "single annotations of Civil Comments")
    if {"id", "comment_text", "toxicity_annotator_count"} <= columns:
        spec = CivilCommentsSource.parse({"source": "civil_comments", "path": path}, path)
        return Recognised(spec, "Civil Comments: shares of annotators who found a comment toxic")
    return None


SOURCE = Source(CivilCommentsSource, load, recognise=recognise)
