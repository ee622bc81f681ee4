"""Conditions of one or several studies for the paper's tables: finished seeds measured, the others with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dissensus.analysis.paper.cells import PaperCell
from dissensus.analysis.paper.definitions import (
    CHAOSNLI,
    DECODERS,
    MODELS,
    SCALED,
    SEED,
    data_name,
    definition_words,
    method_name,
    model_name,
    paper_settings,
    scaled_to_labels,
)
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReader
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.errors import StoreError
from dissensus.study.folder import StudyFolder

WORDS = {"pending": "not run", "interrupted": "stopped half-way"}
"""State of a cell -> its words in a table."""


@dataclass(frozen=True)
class Condition:
    """A condition: its settings but for the seed, whatever studies its seeds were run in.

    Attributes:
        model: as the paper calls it, or by its label.
        method: likewise, with its tag and regime.
        data: SNLI, MNLI, alphaNLI or the data set's name.
        variant: name of the variant; '' for a study's own condition.
        spec: of its first seed.
        base: key of the condition that it is a variant of; '' for none.
        key: what tells it from every other condition.
        study: the study that it was first read in.
        cells: finished seeds.
        unfinished: states of the planned seeds that are not done.
    """

    model: str
    method: str
    data: str
    variant: str
    spec: RunSpec
    base: str
    key: str
    study: str
    cells: tuple[PaperCell, ...]
    unfinished: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, str, str]:
        """Model, method and data."""
        return self.model, self.method, self.data

    @property
    def planned(self) -> int:
        """Seeds that the studies plan."""
        return len(self.cells) + len(self.unfinished)

    @property
    def absent(self) -> str:
        """Why there is no number where no seed is finished."""
        state = Counter(self.unfinished).most_common(1)[0][0] if self.unfinished else "pending"
        return WORDS.get(state, state)

    @property
    def one(self) -> PaperCell | None:
        """The finished cell of the paper's single seed, or of the first one; None where none is finished."""
        return next((cell for cell in self.cells if cell.seed == SEED), next(iter(self.cells), None))

    @property
    def decoder(self) -> bool:
        """Whether the model is decoder-only: those alone read their input through a prompt."""
        prompted = any(cell.reading.facts.prompt is not None for cell in self.cells)
        return prompted or self.model in (*DECODERS, "GPT-2")

    @property
    def of_paper(self) -> bool:
        """Whether the paper has this model."""
        return self.model in MODELS.values()


@dataclass(frozen=True)
class PaperReading:
    """What the paper's tables are made from.

    Attributes:
        conditions: in the paper's order, then those that it has not.
        studies: name of each study, with how many of its cells are finished.
        definitions: what the numbers are computed by, in sentences.
    """

    conditions: tuple[Condition, ...]
    studies: tuple[str, ...]
    definitions: tuple[str, ...]

    @property
    def planned(self) -> tuple[Condition, ...]:
        """Conditions that are no variant."""
        return tuple(condition for condition in self.conditions if not condition.variant)

    @property
    def own(self) -> tuple[Condition, ...]:
        """Those of them with a finished seed or a model of the paper's."""
        return tuple(condition for condition in self.planned if condition.cells or condition.of_paper)

    @property
    def done(self) -> tuple[Condition, ...]:
        """Those of them with a finished seed."""
        return tuple(condition for condition in self.planned if condition.cells)

    def base_of(self, condition: Condition) -> Condition:
        """The condition that a variant is one of; a condition that is none is its own."""
        return next((c for c in self.conditions if c.key == condition.base), condition)

    def variants(self, wanted: Callable[[RunSpec], bool]) -> tuple[Condition, ...]:
        """Each condition that has variants which are wanted, then these; where one is finished, or the paper's."""
        rows: list[Condition] = []
        for base in self.conditions:
            near = [c for c in self.conditions if c.base == base.key and wanted(c.spec)]
            if near and (base.of_paper or any(c.cells for c in (base, *near))):
                rows += [base, *near]
        return tuple(rows)

    @staticmethod
    def ranks(conditions: Iterable[Condition]) -> dict[tuple[str, str], dict[int, Condition]]:
        """LoRA conditions by (model with tag and regime, data), then by rank; two ranks at least."""
        groups: dict[tuple[str, str], dict[int, Condition]] = {}
        for condition in conditions:
            rank = condition.spec.method.rank
            if rank is not None:
                further = condition.method.removeprefix(f"LoRA r={rank}")
                groups.setdefault((condition.model + further, condition.data), {})[rank] = condition
        return {place: ranks for place, ranks in groups.items() if len(ranks) > 1}


@dataclass
class _Seed:
    spec: RunSpec
    base: RunSpec | None
    study: str
    state: str
    cell: PaperCell | None


def read_conditions(folders: Sequence[Path], *, paper: bool = True) -> PaperReading:
    """Read every finished cell of some studies, each once; a cell that two studies share counts once.

    Args:
        folders: of the studies.
        paper: by the paper's definitions; else by each study's own.

    Raises:
        SpecError: a folder is no study's.
        StoreError: no cell is finished, or a finished one is damaged (it is named).
    """
    seeds: dict[str, dict[int, _Seed]] = {}
    studies, definitions = [], []
    for folder in map(StudyFolder, folders):
        settings = paper_settings(folder.spec.analysis) if paper else folder.spec.analysis
        definitions.append((*definition_words(settings), *((SCALED,) if paper else ())))
        finished = StudyReader(folder).all().cells if folder.done else ()
        readings = {cell.name: cell for cell in finished}
        for name, planned in folder.planned.items():
            same = seeds.setdefault(_key(planned.cell), {})
            known, cell = same.get(planned.cell.seed), readings.get(name)
            if known is None or known.cell is None or _adds_gradients(cell, known.spec):
                same[planned.cell.seed] = _Seed(
                    planned.cell,
                    planned.base,
                    folder.spec.name,
                    folder.listed[name].state,
                    None if cell is None else PaperCell(_by(settings, cell, paper), folder.cell(name)),
                )
        studies.append(f"{folder.spec.name} ({len(folder.done)} of {len(folder.planned)} cells finished)")
    if not any(seed.cell for same in seeds.values() for seed in same.values()):
        shown = ", ".join(str(folder) for folder in folders)
        raise StoreError(f"no cell of {shown} is finished. Run it first: dissensus run {folders[0]}")
    conditions = _told_apart([_condition(key, list(same.values())) for key, same in seeds.items()])
    alike = len(set(definitions)) == 1
    words = (
        definitions[0]
        if alike
        else [f"{name}: {line}" for name, lines in zip(studies, definitions, strict=True) for line in lines]
    )
    return PaperReading(tuple(sorted(conditions, key=_order)), tuple(studies), tuple(words))


def _adds_gradients(cell: CellReading | None, known: RunSpec) -> bool:
    """Whether a finished cell has a gradient probe that the cell of the same seed in another study has not."""
    return cell is not None and cell.spec.tracking.gradients is not None and known.tracking.gradients is None


def _by(settings: AnalysisSpec, cell: CellReading, paper: bool) -> CellReading:
    """The reading by other definitions."""
    scaled = scaled_to_labels(settings, len(cell.labels)) if paper else settings
    return replace(cell, settings=scaled)


def _key(spec: RunSpec) -> str:
    """The same for all seeds; a gradient probe changes nothing in training."""
    tracking = spec.tracking.model_copy(update={"gradients": None})
    return spec.model_copy(update={"seed": 0, "tracking": tracking}).digest()


def _condition(key: str, seeds: Sequence[_Seed]) -> Condition:
    first = seeds[0]
    return Condition(
        *(model_name(first.spec), method_name(first.spec), data_name(first.spec), first.spec.variant or ""),
        spec=first.spec,
        base="" if first.base is None else _key(first.base),
        key=key,
        study=first.study,
        cells=tuple(seed.cell for seed in sorted(seeds, key=lambda s: s.spec.seed) if seed.cell is not None),
        unfinished=tuple(seed.state for seed in seeds if seed.cell is None),
    )


def _told_apart(conditions: Sequence[Condition]) -> list[Condition]:
    """Conditions that the paper's words do not tell apart: each with its study, or else its data set's name, too."""
    alike: dict[tuple[str, ...], list[Condition]] = {}
    for condition in conditions:
        alike.setdefault((*condition.labels, condition.variant), []).append(condition)
    apart = []
    for group in alike.values():
        candidates = [[c.study for c in group], [c.spec.dataset.name for c in group]]
        further = next((w for w in candidates if len(set(w)) == len(group)), [c.key[:6] for c in group])
        apart += [
            replace(c, method=f"{c.method} [{words}]") if len(group) > 1 else c
            for c, words in zip(group, further, strict=True)
        ]
    return apart


def _order(condition: Condition) -> tuple[int, str, int, int, int, bool]:
    models, data, method = list(MODELS.values()), list(CHAOSNLI.values()), condition.spec.method
    return (
        models.index(condition.model) if condition.model in models else len(models),
        condition.model,
        data.index(condition.data) if condition.data in data else len(data),
        ("lora", "ia3", "full").index(method.name),
        method.rank or 0,
        condition.spec.regime != "trained_on",
    )
