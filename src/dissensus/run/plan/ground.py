"""What a plan is made for and how its seconds come about: machines, and a measurement, a file or an assumption."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dissensus.errors import SpecError
from dissensus.run.allocation import on_gpu
from dissensus.run.engines.base import Engine, Machine
from dissensus.run.plan.stated import Assumption


@dataclass(frozen=True)
class Source:
    """Where the seconds come from.

    Attributes:
        kind: measured now, taken from an earlier plan's file, or reckoned from an assumption.
        engine: measured: on what; local is this machine.
        file: the earlier plan.
        assumption: what was assumed.
    """

    kind: Literal["measured", "file", "assumed"]
    engine: str = "local"
    file: str = ""
    assumption: Assumption | None = None


@dataclass(frozen=True)
class Ground:
    """What a plan stands on.

    Attributes:
        machines: that the jobs are placed on; empty for worker processes of this machine.
        gpus: whether jobs compute on GPUs.
        engine: that measures, open; None where this machine does, or nothing is measured.
        source: where the seconds come from.
    """

    machines: tuple[Machine, ...]
    gpus: bool
    engine: Engine | None
    source: Source


@contextlib.contextmanager
def ground_of(
    out: Path,
    *,
    engine: Engine | None,
    cluster: Sequence[Machine],
    calibration: Path | None,
    assumption: Assumption | None,
    device: str | None,
) -> Iterator[Ground]:
    """Find the machines; an engine elsewhere is opened for as long as this lasts, if it has to say or to measure.

    Args:
        out: the study's folder; if it was not there, an engine leaves none behind.
        engine: what the study will run on; None is this machine.
        cluster: machines as stated; empty asks the engine.
        calibration: an earlier plan's JSON.
        assumption: how fast a device is.
        device: as `runner.run_study`.

    Raises:
        SpecError: they do not fit together, or the engine cannot be reached or cannot tell its machines.
    """
    if calibration is not None and assumption is not None:
        raise SpecError("--calibration and --assume are two sources of the same seconds; give one of them")
    away = engine if engine is not None and engine.elsewhere else None
    if assumption is not None and not cluster and away is None:
        raise SpecError(
            '--assume is about stated machines; add e.g. --cluster "nodes=1,cpus=16,gpus=1,memory=128"'
        )
    if calibration is not None:
        source = Source("file", file=str(calibration))
    elif assumption is not None:
        source = Source("assumed", assumption=assumption)
    else:
        source = Source("measured", engine=away.name if away else "local")
    measures = source.kind == "measured"
    if measures and away is None and any(m.gpus for m in cluster) and not on_gpu(device):
        raise SpecError(
            "the stated cluster has GPUs and this machine, where would be measured, has none. Give the timings of a "
            "machine that has (--calibration FILE), measure on the cluster (--engine ray), or assume a rate (--assume "
            '"tflops=67,share=0.35")'
        )
    there = out.exists()
    reach = away if away is not None and (measures or not cluster) else None
    try:
        if reach is not None:
            reach.open()
        machines = tuple(cluster) or (reach.machines() if reach is not None else ())
        if away is not None and not machines:
            raise SpecError(
                f"the engine {away.name} cannot tell what machines there are; state them, e.g. --cluster "
                '"nodes=8,cpus=16,gpus=1,memory=128"'
            )
        gpus = any(machine.gpus > 0 for machine in machines) if machines else on_gpu(device)
        yield Ground(machines, gpus, reach if measures else None, source)
    finally:
        if reach is not None:
            reach.close()
            if not there:
                with contextlib.suppress(OSError):
                    out.rmdir()
