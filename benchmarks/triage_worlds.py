"""Worlds of the triage benchmark: recorded runs of which it is known what is wrong with each label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.study_reading import StudyReader
from dissensus.config.sources import SourceSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.sources.simulated import SimulatedSource, load
from dissensus.stats.label_posterior import true_kind


@dataclass(frozen=True)
class World:
    """A recorded run on n examples.

    Attributes:
        name: the run's cell.
        dataset: its data set; of the simulated panel, whose items all studies share, the study.
        simulated: whether it is the simulated panel.
        method: 'full', 'lora-r8', ...
        regime: 'held_out' or 'trained_on'.
        curves: on the labels in question.
        shares: of all people, shape (n, K): the simulated population's, or those of a hundred annotators.
        kinds: what is true of the labels: 0 rejected, 1 contested, 2 backed; shape (n,). See `true_kind`.
        flipped: labels that were flipped on purpose, shape (n,); None where none was.
    """

    name: str
    dataset: str
    simulated: bool
    method: str
    regime: str
    curves: Curves
    shares: FloatArray
    kinds: NDArray[np.int64]
    flipped: NDArray[np.bool_] | None


def worlds(folder: Path) -> Iterator[World]:
    """The completed cells of a study's folder that are no variant."""
    reading = StudyReader.at(folder).all()
    for cell in reading.own:
        curves, source = cell.curves, cell.spec.dataset.tracked
        simulated = isinstance(source, SimulatedSource)
        shares, flipped = curves.counts / curves.counts.sum(axis=1, keepdims=True), None
        if cell.given is not None:
            curves, flipped = curves.on(cell.given.labels), cell.given.flipped
        elif isinstance(source, SimulatedSource):
            shares, flipped = _population(source, curves)
        yield World(
            cell.name,
            reading.study.name if simulated else cell.spec.dataset.name,
            simulated,
            cell.spec.method.label,
            cell.spec.regime,
            curves,
            shares,
            true_kind(shares, curves.gold),
            flipped,
        )


def _population(source: SourceSpec, curves: Curves) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The simulated population's shares, and which labels were made wrong, in the order of the curves."""
    assert isinstance(source, SimulatedSource)
    data = load(source)
    place = {example.id: k for k, example in enumerate(data.examples)}
    examples = [data.examples[place[item]] for item in curves.ids]
    shares = [[float(example.extra[f"p_{label}"]) for label in data.labels] for example in examples]
    return np.array(shares), np.array([bool(example.extra["mislabelled"]) for example in examples])
