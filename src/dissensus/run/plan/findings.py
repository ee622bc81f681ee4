"""What a plan found out about a study's cells, and when two cells are alike in it. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dissensus.config import RunSpec
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights

Key = tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """What could be found out about one cell.

    Attributes:
        data: sizes of its data; None where they could not be loaded.
        tokens: None where the model, too, could not be loaded.
        timing: of its kind of cell.
        reason: why something is missing, in one line; "" where nothing is.
        weights: of its kind of cell.
    """

    data: DataFacts | None = None
    tokens: TokenFacts | None = None
    timing: Timing | None = None
    reason: str = ""
    weights: Weights | None = None


@dataclass(frozen=True)
class Measured:
    """How one kind of cell was timed.

    Attributes:
        model: its model's name, as the cell's.
        method: full, lora or ia3.
        precision: of training.
        cell: id of the cell that was timed.
        workers: processes that timed it at the same time.
        timing: what they found.
        device: what it computed on: a GPU's name, or CPU; "" where that is not known.
        threads: of each process; 0 where that is not known.
    """

    model: str
    method: str
    precision: str
    cell: str
    workers: int
    timing: Timing
    device: str = ""
    threads: int = 0


@dataclass(frozen=True)
class Findings:
    """What is known of cells.

    Attributes:
        known: by cell id.
        measured: what was timed.
        notes: what stands for what, a line each, where something was not here.
    """

    known: Mapping[str, Known] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()


def data_key(cell: RunSpec) -> Key:
    """What the sizes of a cell's data depend on; of several seeds the first stands for all."""
    return cell.dataset.canonical(), cell.regime


def model_key(cell: RunSpec) -> str:
    """The model and how it reads text."""
    return cell.model.model_copy(update={"tag": None, "dropout": None}).canonical()


def token_key(cell: RunSpec) -> Key:
    """What a cell's tokens depend on."""
    return model_key(cell), *data_key(cell)


def kind_key(cell: RunSpec) -> Key:
    """What the seconds of a token depend on."""
    return model_key(cell), cell.method.name, cell.training.precision, cell.tracking.precision
