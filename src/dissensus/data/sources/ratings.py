"""Published corpora of ratings on a scale: HelpSteer2, Measuring Hate Speech, POPQUORN. All of them are ordinal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from dissensus.data.sources.base import FileSample, PublishedData, Recognised, RemoteFile, Source
from dissensus.data.sources.presets import Origin, PresetSource, load, need_columns
from dissensus.data.sources.table import TableSource
from dissensus.data.sources.tabular import Table
from dissensus.errors import DataError

HELPSTEER2 = PublishedData(
    name="helpsteer2",
    what="HelpSteer2: each annotator's ratings of 21,000 answers of language models",
    licence="CC BY 4.0",
    citation="Wang et al., NeurIPS 2024 (HelpSteer2)",
    homepage="https://huggingface.co/datasets/nvidia/HelpSteer2",
    files=(
        RemoteFile(
            "https://huggingface.co/datasets/nvidia/HelpSteer2/resolve/538c6cb353c687ed9dcb3312021db8ffd8ee2208/"
            "disagreements/disagreements.jsonl.gz",
            "disagreements.jsonl.gz",
            "53435e0e2926620bf08ce91f278d7368ee6903f416a47764fe8839f3b71b3ab4",
        ),
    ),
    expects=("disagreements.jsonl.gz",),
)
POPQUORN = PublishedData(
    name="popquorn",
    what="POPQUORN, offensiveness: 13,036 ratings of 1,500 comments by 262 annotators",
    licence="see the authors' repository",
    citation="Pei and Jurgens, LAW 2023",
    homepage="https://github.com/Jiaxin-Pei/Potato-Prolific-Dataset",
    files=(
        RemoteFile(
            "https://raw.githubusercontent.com/Jiaxin-Pei/Potato-Prolific-Dataset/"
            "dbb118c29b3d9bcce5aa172d8249ded9ece4df84/dataset/offensiveness/raw_data.csv",
            "offensiveness/raw_data.csv",
            "fb0589093d45da76bf4ef4d0abff679b540bdd5b17af5764913b3ccd0a069e1e",
        ),
    ),
    expects=("offensiveness/raw_data.csv",),
)
_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_QUESTIONS = ("offensiveness", "politeness", "difficulty")


def _steps(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(step) for step in range(first, last + 1))


class HelpSteer2Source(PresetSource):
    """HelpSteer2, disagreements: lists of ratings from 0 to 4 for an answer; who rated is not known."""

    source: Literal["helpsteer2"] = "helpsteer2"
    attribute: Literal["helpfulness", "correctness", "coherence", "complexity", "verbosity"] = Field(
        "helpfulness", description="What was rated."
    )

    title: ClassVar[str] = "HelpSteer2"
    origin: ClassVar[Origin] = Origin(
        files=("helpsteer2/disagreements.jsonl.gz", "helpsteer2/disagreements.jsonl"),
        homepage=HELPSTEER2.homepage,
        published=HELPSTEER2,
    )

    def _aspect(self) -> str:
        return f", {self.attribute}"

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """One row per answer, with a list of ratings."""
        need_columns(table, ("prompt", "response", self.attribute), self.title)
        if not any(isinstance(cell, list | str) for cell in table.cells(self.attribute)):
            raise DataError(
                f"{table.path}: {self.attribute!r} is one number per answer, made of the annotators' ratings. The "
                f"ratings are in disagreements/disagreements.jsonl.gz of {self.origin.homepage}"
            )
        return table, TableSource(
            path=str(table.path),
            text=("prompt", "response"),
            annotations=(self.attribute,),
            labels=_steps(0, 4),
            scale="ordinal",
        )


class MeasuringHateSpeechSource(PresetSource):
    """Measuring Hate Speech: one row per annotation, with ten ordinal questions."""

    source: Literal["measuring_hate_speech"] = "measuring_hate_speech"
    question: Literal[
        "hatespeech",
        "sentiment",
        "respect",
        "insult",
        "humiliate",
        "status",
        "dehumanize",
        "violence",
        "genocide",
        "attack_defend",
    ] = Field(
        "hatespeech", description="hatespeech is rated from 0 to 2 (no, unclear, yes); others from 0 to 4."
    )

    title: ClassVar[str] = "Measuring Hate Speech"
    origin: ClassVar[Origin] = Origin(
        files=("measuring_hate_speech/measuring-hate-speech.parquet", "measuring-hate-speech.parquet"),
        homepage="https://huggingface.co/datasets/ucberkeley-dlab/measuring-hate-speech",
        hub=("ucberkeley-dlab/measuring-hate-speech", None),
    )

    def _aspect(self) -> str:
        return f", {self.question}"

    def label_meanings(self) -> Mapping[str, str]:
        """What the numbers of `hatespeech` mean."""
        return {"0": "no", "1": "unclear", "2": "yes"} if self.question == "hatespeech" else {}

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """One row per annotation."""
        need_columns(table, ("comment_id", "annotator_id", "text", self.question), self.title)
        return table, TableSource(
            path=str(table.path),
            text=("text",),
            item="comment_id",
            annotator="annotator_id",
            annotation=self.question,
            labels=_steps(0, 2 if self.question == "hatespeech" else 4),
            scale="ordinal",
        )


class PopquornSource(PresetSource):
    """POPQUORN: ratings from 1 to 5 of offensiveness, politeness, or how difficult a question is to answer."""

    source: Literal["popquorn"] = "popquorn"
    question: Literal["offensiveness", "politeness", "difficulty"] | None = Field(
        None, description="What was rated; default: the one that the file has."
    )

    title: ClassVar[str] = "POPQUORN"
    origin: ClassVar[Origin] = Origin(
        files=("popquorn/offensiveness/raw_data.csv",), homepage=POPQUORN.homepage, published=POPQUORN
    )

    def _aspect(self) -> str:
        return f", {self.question}" if self.question else ""

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """One row per rating."""
        if "revised email" in table.columns:
            raise DataError(
                f"{table.path} is POPQUORN's text rewriting: each annotator wrote a text of their own, so there are no "
                "labels to disagree on. Take offensiveness, politeness_rating or question_answering"
            )
        present = [question for question in _QUESTIONS if question in table.columns]
        rated: str = self.question or (present or _QUESTIONS)[0]
        text = ("text", "question") if rated == "difficulty" else ("text",)
        need_columns(table, ("instance_id", "user_id", *text, rated), self.title)
        return table, TableSource(
            path=str(table.path),
            text=text,
            item="instance_id",
            annotator="user_id",
            annotation=rated,
            labels=_steps(1, 5),
            scale="ordinal",
        )


def _recognise_helpsteer2(sample: FileSample) -> Recognised | None:
    rated = [name for name in _ATTRIBUTES if name in sample.columns]
    if len(rated) < 2 or not {"prompt", "response"} <= sample.columns:
        return None
    attribute = "helpfulness" if "helpfulness" in rated else rated[0]
    keys = {"source": "helpsteer2", "path": str(sample.path), "attribute": attribute}
    form = f"HelpSteer2, {attribute} (`attribute` chooses among {', '.join(rated)})"
    return Recognised(HelpSteer2Source.parse(keys, str(sample.path)), form)


def _recognise_hate_speech(sample: FileSample) -> Recognised | None:
    if not {"comment_id", "annotator_id", "text", "hatespeech"} <= sample.columns:
        return None
    keys = {"source": "measuring_hate_speech", "path": str(sample.path)}
    form = "Measuring Hate Speech, hatespeech (`question` chooses another)"
    return Recognised(MeasuringHateSpeechSource.parse(keys, str(sample.path)), form)


def _recognise_popquorn(sample: FileSample) -> Recognised | None:
    if not {"instance_id", "user_id"} <= sample.columns:
        return None
    rated = next((name for name in _QUESTIONS if name in sample.columns), None)
    rewriting = {"original email", "revised email"} <= sample.columns
    if not rewriting and (rated is None or "text" not in sample.columns):
        return None
    keys = {"source": "popquorn", "path": str(sample.path), **({"question": rated} if rated else {})}
    return Recognised(PopquornSource.parse(keys, str(sample.path)), f"POPQUORN, {rated or 'text rewriting'}")


HELPSTEER2_SOURCE = Source(HelpSteer2Source, load, (HELPSTEER2,), _recognise_helpsteer2)
HATE_SPEECH_SOURCE = Source(MeasuringHateSpeechSource, load, (), _recognise_hate_speech)
POPQUORN_SOURCE = Source(PopquornSource, load, (POPQUORN,), _recognise_popquorn)
