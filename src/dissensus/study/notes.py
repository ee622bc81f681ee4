"""Notes that loaders left on the data sets and models of a study's cells, in their manifests. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dissensus.errors import StoreError
from dissensus.store.manifest import read_manifest
from dissensus.store.run_facts import RunFacts
from dissensus.study.folder import StudyFolder


@dataclass(frozen=True, slots=True)
class Remark:
    """Notes on one data set or model of a study.

    Attributes:
        about: 'data set NAME' or 'model NAME'.
        notes: a sentence each, each once, in the order in which cells have them.
    """

    about: str
    notes: tuple[str, ...]


def remarks(folder: StudyFolder, cells: Iterable[str]) -> tuple[Remark, ...]:
    """Notes of the study's cells with these ids, once for each data set and each model; without a manifest, none.

    Of a model only what is out of the ordinary is told: prefixes that were stripped, a scoring head that came with it.
    """
    notes_by_subject: dict[str, dict[str, None]] = {}
    for name in cells:
        spec = folder.planned[name].cell
        try:
            facts = RunFacts.of(read_manifest(folder.cell(name)).provenance)
        except StoreError:  # not begun, or damaged, which whoever reads its curves says
            continue
        for about, notes in (
            (f"data set {spec.dataset.name}", facts.data_notes),
            (f"model {spec.model.label}", facts.model_notes),
        ):
            for note in notes:
                notes_by_subject.setdefault(about, {})[note] = None
    return tuple(Remark(about, tuple(notes)) for about, notes in sorted(notes_by_subject.items()))
