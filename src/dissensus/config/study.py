"""The specification of a study: axes, common settings, exceptions to them, and how it is analysed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from dissensus.config.analysis import AnalysisSpec
from dissensus.config.base import Spec
from dissensus.config.dataset import DatasetSpec
from dissensus.config.run import MethodSpec, ModelSpec, Regime, TrackingSpec, TrainingSpec
from dissensus.errors import SpecError

NO_VARIANT = "none"
"""What a filter calls the cells that are no variant."""


class When(Spec):
    """Picks cells: every key that is given must match (a list means: any of these)."""

    model: str | tuple[str, ...] | None = None
    head: str | tuple[str, ...] | None = None
    dataset: str | tuple[str, ...] | None = None
    method: str | tuple[str, ...] | None = Field(
        None, description="`full`, `ia3`, `lora`, or with rank: `lora-r8`."
    )
    regime: Regime | tuple[Regime, ...] | None = None
    seed: int | tuple[int, ...] | None = None
    variant: str | tuple[str, ...] | None = Field(
        None, description="A variant's name; `none` for the cells that are no variant."
    )


class Override(Spec):
    """Other settings for some cells, merged deeply into the cell's specification."""

    when: When
    set: dict[str, Any] = Field(description="Keys of a cell: dataset, model, method, training, tracking.")


class ExecutionRule(Spec):
    """What some cells ask of a machine, merged over what earlier rules say; `Execution` has the keys."""

    when: When = When()
    set: dict[str, Any] = Field(
        min_length=1,
        description="Keys: cpus, gpus, memory_gib, processes, sharding, cpu_offload, gradient_checkpointing, "
        "checkpoint_seconds.",
    )


class VariantSpec(Spec):
    """One choice made otherwise: for each cell that `when` picks, a further cell with `set` merged into it.

    A variant is compared with the cell that it is a variant of: it tells how much hangs on a learning rate, on
    dropout, on flipped training labels. It is none of the study's conditions and counts in no claim about them.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Name in tables and folders.")
    when: When = When()
    set: dict[str, Any] = Field(
        min_length=1, description="Keys of a cell: dataset, model, method, training, tracking."
    )

    @model_validator(mode="after")
    def _own_name(self) -> VariantSpec:
        if self.name == NO_VARIANT:
            raise ValueError(f"the name {NO_VARIANT!r} is taken: it stands for the cells that are no variant")
        if self.when.variant is not None:
            raise ValueError(
                "a variant is of the study's own cells, not of another variant: leave 'variant' out"
            )
        return self


class StudySpec(Spec):
    """A grid of cells: models x datasets x methods x regimes x seeds, less the excluded ones."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    title: str = ""
    description: str = ""
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    regimes: tuple[Regime, ...] = Field(("held_out",), min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    training: TrainingSpec = TrainingSpec()
    tracking: TrackingSpec = TrackingSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    overrides: tuple[Override, ...] = ()
    exclude: tuple[When, ...] = ()
    variants: tuple[VariantSpec, ...] = ()
    execution: tuple[ExecutionRule, ...] = Field(
        (), description="How cells are carried out; no part of what names them."
    )

    @model_validator(mode="after")
    def _distinct(self) -> StudySpec:
        names = [d.name for d in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"datasets must have different names; given: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _cuts_are_there(self) -> StudySpec:
        bare = [d.name for d in self.datasets if d.entropy_cuts is None]
        if self.analysis.cuts == "entropy_cuts" and bare:
            raise ValueError(
                f"analysis.cuts takes each data set's entropy_cuts, and {bare[0]!r} has none; give it some, e.g. "
                "{low: 0.4, high: 0.7, unit: nats}"
            )
        return self

    @classmethod
    def from_yaml(cls, path: Path, *, stored: bool = False) -> StudySpec:
        """Read and validate a YAML file (`stored`: see `Spec.parse`); `SpecError` says what is wrong with it."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SpecError(f"cannot read the study file {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise SpecError(f"{path} is not a text file in UTF-8: {error}") from None
        return cls.from_text(text, str(path), stored=stored)

    @classmethod
    def from_text(cls, text: str, where: str, *, stored: bool = False) -> StudySpec:
        """Validate YAML text; `where` (a file name, say) opens the message of a `SpecError`."""
        try:
            data = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            raise SpecError(f"{where} is not valid YAML: {error}") from None
        if not isinstance(data, dict):
            kind = "nothing" if data is None else type(data).__name__
            raise SpecError(
                f"{where} holds {kind}; a study is a mapping with keys such as name, models, datasets"
            )
        return cls.parse(data, where, stored=stored)

    def to_yaml(self) -> str:
        """The resolved specification, defaults included, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: plain YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key != "<<" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice in one mapping", key_node.start_mark
                )
            if key is not None:
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


class Execution(Spec):
    """What one cell is given, and how it uses it. None leaves a choice to the engine."""

    cpus: float | None = Field(
        None, gt=0, description="Processors to reserve; default: the worker's threads."
    )
    gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs to reserve, fractions too; default: one per process where there are any.",
    )
    memory_gib: float | None = Field(
        None, gt=0, description="Memory to reserve, in GiB; default: 3 a process."
    )
    processes: int = Field(1, ge=1, description="Processes that train one cell together, a GPU each.")
    sharding: Literal["none", "fsdp"] = Field(
        "none", description="Several processes: each holds all weights (DDP), or a part of them (FSDP)."
    )
    cpu_offload: bool = Field(
        False, description="FSDP: weights wait in the CPU's memory until they are needed."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again on the way back instead of keeping them: less memory."
    )
    checkpoint_seconds: float | None = Field(
        None,
        ge=0,
        description="A checkpoint at the first tracking point so long after the last one; default: 60; 0: at each.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Execution:
        if self.cpu_offload and self.sharding != "fsdp":
            raise ValueError("cpu_offload belongs to sharding: fsdp")
        if self.gpus is not None and 0 < self.gpus < self.processes and self.processes > 1:
            raise ValueError(
                f"{self.processes} processes need a GPU each, or none; given: gpus: {self.gpus:g}"
            )
        return self
