"""Engines by name, with their options as the command line has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dissensus.config import nearest
from dissensus.config.extensions import ExtensionPoint
from dissensus.errors import SpecError
from dissensus.run.engines.base import Engine, EngineSettings

ENGINES = ExtensionPoint(
    "dissensus.engines",
    {
        "local": "dissensus.run.engines.local:local_engine",
        "ray": "dissensus.run.engines.ray:ray_engine",
        "slurm": "dissensus.run.engines.slurm:slurm_engine",
    },
    "a function of an EngineSettings to an Engine (dissensus.run.engines.base)",
    callable,
)
"""Name, as `--engine` takes it -> a function from `EngineSettings` to an `Engine`."""


def named_engine(
    name: str,
    out: Path,
    *,
    workers: int | None = None,
    device: str | None = None,
    address: str | None = None,
    options: Sequence[str] = (),
) -> Engine:
    """The engine of that name; it is opened by who runs a study on it.

    Args:
        name: one of `ENGINES`.
        out: the study's folder.
        workers: jobs at a time, where the engine asks.
        device: torch device of every worker, where the engine asks.
        address: ray: of the cluster; the same as the option `address=...`.
        options: KEY=VALUE each; the engine says which it knows.

    Raises:
        SpecError: no such engine, an option that it does not have, or a package's that is none.
    """
    make = ENGINES.load(name)
    if make is None:
        near = nearest(name, ENGINES.names())
        raise SpecError(
            f"--engine {name}: no such engine; {near} (or a package that brings it is not installed)"
        )
    if address is not None and name != "ray":
        raise SpecError(f"--address is of --engine ray; the engine here is {name}")
    by_key = dict(_pair(option) for option in options) | ({} if address is None else {"address": address})
    engine = make(EngineSettings(out, workers, device, by_key))
    if not isinstance(engine, Engine):
        raise SpecError(
            f"--engine {name}: {ENGINES.brought_by(name)} gave {type(engine).__name__} {engine!r:.80}; expected an "
            "Engine (dissensus.run.engines.base)"
        )
    return engine


def _pair(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise SpecError(f"--engine-option {option!r} is not KEY=VALUE")
    return key.strip(), value.strip()
