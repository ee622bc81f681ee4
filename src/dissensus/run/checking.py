"""Checks before a run: the data sets and models that a study's cells need, looked at once.

Imports torch for model folders alone, whose weights are held against their configuration by the files' headers.

Each distinct source is loaded as a cell loads it, whole: a label that no other row has may stand in the last one. That
costs the study one load, where each of its cells makes one of its own. Where cells run on other machines, data that is
not here may well be there: then it is left to them, and that is said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from dissensus.config import ModelSpec, RunSpec
from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import assemble
from dissensus.data.sources import load_source
from dissensus.errors import DataError, DissensusError, MissingDependencyError, MissingFileError, ModelError
from dissensus.run.cell_data import annotators_shares, training_labels
from dissensus.seeds import stream_seed

KEPT = 2
"""Loaded sources that are kept at a time: the tracked and the training one of the data set that is looked at."""


def check_inputs(
    cells: Sequence[RunSpec],
    *,
    data_dir: Path | None,
    elsewhere: bool,
    on_stage: Callable[[str], None] = lambda _words: None,
    on_note: Callable[[str], None] = lambda _words: None,
) -> None:
    """Raise one error for all that is wrong with the data and the models of these cells.

    Args:
        cells: those that are to be run.
        data_dir: where data files are looked up first.
        elsewhere: whether they run on other machines. Models are looked for there alone, data that is not here too.
        on_stage: called with what is looked at, and with "" at the end.
        on_note: called with what is not looked at.

    Raises:
        DataError: some data set is missing or malformed, or does not go together with its cells' settings.
        ModelError: some model is not to be had.
    """
    wrong = _check_data(cells, data_dir, elsewhere, on_stage, on_note)
    models = [] if elsewhere else _check_models(cells, on_stage)
    on_stage("")
    if wrong or models:
        kind = DataError if wrong else ModelError
        raise kind("\n".join([*wrong, *models, "No cell was started."]))


def _check_data(
    cells: Sequence[RunSpec],
    data_dir: Path | None,
    elsewhere: bool,
    on_stage: Callable[[str], None],
    on_note: Callable[[str], None],
) -> list[str]:
    """What is wrong with data sets, in words."""
    load = _Loader(data_dir)
    alike: dict[tuple[str, str, str, str], list[RunSpec]] = {}
    for cell in cells:
        labels = f"{cell.training.noise!r} {cell.training.targets}"
        alike.setdefault((_key(cell), cell.dataset.model_dump_json(), cell.regime, labels), []).append(cell)
    wrong: dict[str, int] = {}
    seen: set[str] = set()
    absent: set[str] = set()
    for _, same in sorted(alike.items()):
        name = same[0].dataset.name
        if name not in seen:
            on_stage(f"checking the data set {name}")
        seen.add(name)
        try:
            _try(same[0], load)
        except (MissingFileError, MissingDependencyError) as error:
            if elsewhere:
                absent.add(name)
            else:
                wrong[str(error)] = wrong.get(str(error), 0) + len(same)
        except DissensusError as error:
            wrong[str(error)] = wrong.get(str(error), 0) + len(same)
    for name in sorted(absent):
        on_note(
            f"the data set {name} is not on this machine and was not checked: its cells look for it on theirs"
        )
    return [f"{error} ({_needed(number, len(cells))})" for error, number in wrong.items()]


def _try(cell: RunSpec, load: _Loader) -> None:
    """Make what a cell trains on and tracks."""
    sample_seed = stream_seed(cell.seed, "sample")
    data = assemble(cell.dataset, cell.regime, sample_seed=sample_seed, load=load)
    training_labels(cell, data, None)
    if cell.training.targets == "annotators":
        annotators_shares(data)


def _check_models(cells: Sequence[RunSpec], on_stage: Callable[[str], None]) -> list[str]:
    """What is wrong with models, in words."""
    alike: dict[ModelSpec, int] = {}
    for cell in cells:
        alike[cell.model] = alike.get(cell.model, 0) + 1
    wrong: dict[str, int] = {}
    for model, number in alike.items():
        on_stage(f"looking for the model {model.name}")
        try:
            _check_model(model, on_stage)
        except DissensusError as error:
            wrong[str(error)] = wrong.get(str(error), 0) + number
    return [f"{error} ({_needed(number, len(cells))})" for error, number in wrong.items()]


def _check_model(model: ModelSpec, on_stage: Callable[[str], None]) -> None:
    from dissensus.models.resolve import check_model

    origin = check_model(model.name, model.revision)
    if origin == "folder" and all(map(find_spec, ("torch", "transformers"))):
        from dissensus.models.loading import check_weights

        on_stage(f"checking the files of the model {model.name}")
        check_weights(model)


class _Loader:
    """`load_source`, which loads a source once for the data sets that share it, as far as they come together."""

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_dir
        self._known: OrderedDict[str, AnnotatedDataset] = OrderedDict()

    def __call__(self, spec: SourceSpec) -> AnnotatedDataset:
        key = spec.model_dump_json()
        if key not in self._known:
            loaded = load_source(spec, data_dir=self._data_dir)
            while len(self._known) >= KEPT:
                self._known.popitem(last=False)
            self._known[key] = loaded
        self._known.move_to_end(key)
        return self._known[key]


def _key(cell: RunSpec) -> str:
    """What brings data sets of the same sources together."""
    sources = (cell.dataset.train, cell.dataset.tracked)
    return "\n".join("" if source is None else source.model_dump_json() for source in sources)


def _needed(number: int, of: int) -> str:
    return f"needed by {'every cell' if number == of else f'{number} of {of} cells'}"
