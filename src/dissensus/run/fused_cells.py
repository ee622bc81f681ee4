"""Fused cells: several LoRA cells over one frozen model, trained in one pass in one process.

Every cell has the folder, the store, the checkpoint and the results that it would have alone; see `train/fused.py`
for what is common.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dissensus.config import Execution, RunSpec
from dissensus.run.cell import CellProgress, PreparedCell, prepare_cell


def run_cells(
    cells: Sequence[tuple[RunSpec, Path]],
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    execution: Execution | None = None,
    on_progress: Callable[[int, CellProgress], None],
    on_end: Callable[[int, Exception | None], None],
) -> None:
    """Run cells to their ends, resuming what interrupted runs left in their folders.

    Cells that cannot be trained in one pass with others (their architecture does not read packed rows, say) run one
    after the other; what is printed says why.

    Args:
        cells: specification and folder of each; they agree as `jobs.jobs` says.
        data_dir: where data files are looked up first.
        threads: torch threads; default: torch's own choice.
        device: 'cpu', 'cuda', ...; default: a GPU where there is one.
        execution: how they are carried out, in one process; the first one's stands for all.
        on_progress: (which cell, how far it is), after every step and when another phase begins.
        on_end: (which cell, what went wrong with it, or None), once for each cell that has ended.

    Raises:
        Exception: what went wrong with the common pass; every cell that has not ended by then has failed with it.
    """
    prepared: dict[int, PreparedCell] = {}
    for place, (spec, folder) in enumerate(cells):
        base = next((other.run.model for other in prepared.values()), None)
        report = partial(on_progress, place)
        try:
            cell = prepare_cell(
                spec,
                folder,
                data_dir=data_dir,
                threads=threads,
                device=device,
                on_progress=report,
                execution=execution,
                base=base,
            )
            if cell is not None and _must_run_alone(cell, spec):
                cell.train()
                cell.close()
                cell = None
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cells have no part in it
            on_end(place, error)
            continue
        if cell is None:
            on_end(place, None)
        else:
            prepared[place] = cell
            cell.on_phase("waiting")
    if prepared:
        _train_together(prepared, on_end)


def _must_run_alone(cell: PreparedCell, spec: RunSpec) -> bool:
    # Imported here, as below: a job whose cells are all done needs no torch.
    from dissensus.models.fused_layers import obstacle

    reason = obstacle(cell.run.model)
    if reason is not None:
        print(f"{spec.cell_id} is trained alone: {reason}", file=sys.stderr)  # noqa: T201 - the job's log
    return reason is not None


def _train_together(
    prepared: dict[int, PreparedCell], on_end: Callable[[int, Exception | None], None]
) -> None:
    from dissensus.train.fused import train_fused

    places = list(prepared)
    for which, error in train_fused([cell.run for cell in prepared.values()]):
        place, outcome = places[which], error
        if outcome is None:
            try:
                prepared[place].close()
            except Exception as failure:  # noqa: BLE001 - as above
                outcome = failure
        on_end(place, outcome)
