"""GoEmotions (Demszky et al., ACL 2020), raw annotations: one row per rater, one column per emotion."""

from __future__ import annotations

from typing import ClassVar, Literal

from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.presets import Origin, PresetSource, load, need_columns
from dissensus.data.sources.table import TableSource
from dissensus.data.sources.tabular import Table
from dissensus.errors import DataError

EMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity"),
    *("desire", "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear"),
    *("gratitude", "grief", "joy", "love", "nervousness", "optimism", "pride", "realization", "relief"),
    *("remorse", "sadness", "surprise", "neutral"),
)
_UNCLEAR = "example_very_unclear"


class GoEmotionsSource(PresetSource):
    """GoEmotions, raw: a rater who chose k emotions counts 1/k for each; `example_very_unclear` rows are left out."""

    source: Literal["goemotions"] = "goemotions"

    title: ClassVar[str] = "GoEmotions"
    origin: ClassVar[Origin] = Origin(
        files=("goemotions/goemotions_raw.csv", "goemotions_raw.csv"),
        homepage="https://github.com/google-research/google-research/tree/master/goemotions",
        hub=("google-research-datasets/go_emotions", "raw"),
    )

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """One row per annotation, one column per emotion."""
        need_columns(table, ("text", "id", "rater_id", _UNCLEAR), self.title)
        emotions = tuple(column for column in table.columns if column in EMOTIONS)
        if len(emotions) < 2:
            raise DataError(f"{table.path} has no columns of emotions, such as {', '.join(EMOTIONS[:3])}")
        return table, TableSource(
            path=str(table.path),
            text=("text",),
            item="id",
            annotator="rater_id",
            annotation=emotions,
            keep=((_UNCLEAR, False),),
        )


def recognise(sample: FileSample) -> Recognised | None:
    """A raw file, by its columns."""
    if not {"text", "id", "rater_id", _UNCLEAR} <= sample.columns:
        return None
    keys = {"source": "goemotions", "path": str(sample.path)}
    return Recognised(GoEmotionsSource.parse(keys, str(sample.path)), "GoEmotions, raw annotations")


SOURCE = Source(GoEmotionsSource, load, recognise=recognise)
