"""What is stated of a cluster on the command line: its machines, and how fast they are taken to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dissensus.config import nearest
from dissensus.errors import SpecError
from dissensus.run.engines.base import Machine

_MACHINE = {"nodes": 1.0, "cpus": None, "gpus": 0.0, "memory": None}
_RATE = {"tflops": None, "share": None, "setup": 30.0, "step": 0.02}


@dataclass(frozen=True)
class Assumption:
    """How fast a device is taken to be, where nothing was measured.

    Attributes:
        tflops: its peak, in 10^12 floating-point operations a second, at the precision in which the cells compute.
        share: of that peak, what training and tracking reach.
        setup: seconds from a cell's specification to its first step, a worker's start included.
        step: seconds of an optimiser step beside its operations: launching kernels, and the optimiser itself.
    """

    tflops: float
    share: float
    setup: float
    step: float

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.tflops * 1e12 * self.share

    @property
    def words(self) -> str:
        """In words, for what is printed."""
        return (
            f"{self.share:.0%} of {self.tflops:g} TFLOP/s, {self.setup:g} s to set up a cell and {self.step:g} s a "
            "step beside its operations"
        )


def parse_cluster(texts: Sequence[str]) -> tuple[Machine, ...]:
    """The machines that `--cluster` states, e.g. "nodes=8,cpus=16,gpus=1,memory=128"; one text a kind of machine.

    Raises:
        SpecError: a text is not of that form, or a number makes no sense.
    """
    machines: list[Machine] = []
    for text in texts:
        given = _numbers(text, _MACHINE, "--cluster", 'nodes=8,cpus=16,gpus=1,memory=128"')
        for key in ("nodes", "gpus"):
            if given[key] != int(given[key]):
                raise SpecError(f"--cluster {text!r}: {key}={given[key]:g}; expected a whole number")
        for key in ("nodes", "cpus", "memory"):
            if given[key] <= 0:
                raise SpecError(f"--cluster {text!r}: {key}={given[key]:g}; expected more than 0")
        machine = Machine(given["cpus"], given["gpus"], given["memory"])
        machines += [machine] * int(given["nodes"])
    return tuple(machines)


def parse_assumption(text: str) -> Assumption:
    """What `--assume` states, e.g. "tflops=67,share=0.35".

    Raises:
        SpecError: it is not of that form, or a number makes no sense.
    """
    given = _numbers(text, _RATE, "--assume", 'tflops=67,share=0.35"')
    if given["tflops"] <= 0:
        raise SpecError(f"--assume {text!r}: tflops={given['tflops']:g}; expected more than 0")
    if not 0 < given["share"] <= 1:
        raise SpecError(
            f"--assume {text!r}: share={given['share']:g}; expected more than 0 and at most 1, the share of the peak "
            "that training reaches"
        )
    return Assumption(**given)


def _numbers(text: str, known: Mapping[str, float | None], option: str, example: str) -> dict[str, float]:
    """KEY=NUMBER, separated by commas; None in `known` marks a key that must be there."""
    given: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise SpecError(
                f'{option} {text!r}: {part.strip()!r} is not KEY=NUMBER; e.g. {option} "{example}'
            )
        if key not in known:
            raise SpecError(f"{option} {text!r}: unknown key {key!r}; {nearest(key, known)}")
        if key in given:
            raise SpecError(f"{option} {text!r}: {key} is there twice")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise SpecError(f"{option} {text!r}: {key}={value}; expected a number, 0 or more")
        given[key] = number
    missing = [key for key, default in known.items() if default is None and key not in given]
    if missing:
        raise SpecError(f'{option} {text!r} lacks {" and ".join(missing)}; e.g. {option} "{example}')
    return {key: given.get(key, default or 0.0) for key, default in known.items()}


def in_words(machines: Sequence[Machine]) -> str:
    """Machines of one kind together: "8 machines of 16 processors, 1 GPU and 128 GiB"."""
    kinds: dict[Machine, int] = {}
    for machine in machines:
        kinds[machine] = kinds.get(machine, 0) + 1
    return " and ".join(_kind(machine, number) for machine, number in kinds.items())


def _kind(machine: Machine, number: int) -> str:
    processors = f"{machine.cpus:g} processor" + ("" if machine.cpus == 1 else "s")
    gpus = f", {machine.gpus:g} GPU" + ("" if machine.gpus == 1 else "s") if machine.gpus else ""
    many = f"{number} machine" + ("" if number == 1 else "s")
    return f"{many} of {processors}{gpus} and {machine.memory_gib:.4g} GiB"
