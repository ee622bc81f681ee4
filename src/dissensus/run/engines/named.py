"""Engines by name, with their options as the command line has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dissensus.config import nearest
from dissensus.config.extensions import ExtensionPoint
from dissensus.errors import SpecError
from dissensus.run.engines.base import Engine
from dissensus.run.engines.local import LocalEngine

NAMES = ("local", "ray", "slurm")
ENGINES = ExtensionPoint("dissensus.engines", {})
"""Engines of installed packages: an entry point is a function (the study's folder, options by key) -> `Engine`."""


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
        name: one of `NAMES`, or an installed package's (`ENGINES`).
        out: the study's folder.
        workers: local: jobs at a time.
        device: torch device of every worker.
        address: ray: of the cluster.
        options: KEY=VALUE each; the engine says which it knows.

    Raises:
        SpecError: no such engine, or an option that it does not have.
    """
    of_a_package = None if name in NAMES else ENGINES.load(name)
    if name not in NAMES and of_a_package is None:
        raise SpecError(f"--engine {name}: no such engine; {nearest(name, (*NAMES, *ENGINES.names()))}")
    if address is not None and name != "ray":
        raise SpecError(f"--address is of --engine ray; the engine here is {name}")
    settings = dict(_pair(option) for option in options)
    if of_a_package is not None:
        engine: Engine = of_a_package(out, settings)
        return engine
    if name == "slurm":
        from dissensus.run.engines.slurm import SlurmEngine

        return SlurmEngine(out / ".slurm", settings)
    if name == "ray":
        from dissensus.run.engines.ray import RayEngine

        wait = settings.pop("wait", "false")
        if wait not in ("true", "false"):
            raise SpecError(f"--engine-option wait={wait}: expected true or false")
        _none_left(settings, name, "wait")
        return RayEngine(address, wait=wait == "true")
    _none_left(settings, name, "none")
    return LocalEngine(workers=workers, device=device)


def _pair(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise SpecError(f"--engine-option {option!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def _none_left(options: dict[str, str], name: str, known: str) -> None:
    if options:
        key, value = next(iter(options.items()))
        raise SpecError(f"--engine-option {key}={value}: unknown to the engine {name}; known: {known}")
