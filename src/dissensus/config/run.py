"""The specification of one cell: everything that decides its curves, and nothing else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dissensus.config.base import Spec
from dissensus.config.sources import AnySource

Regime = Literal["held_out", "trained_on"]

FEWEST_STEPS = 100
"""Optimiser steps below which small models learned nothing at usual rates (docs/design/training.md has the runs)."""


class ModelSpec(Spec):
    """A model by name, and how it scores labels."""

    name: str = Field(description="A built-in name, a local folder, or a hub path.")
    head: Literal["classifier", "verbalizer"] = Field(
        "classifier",
        description="Sequence classification, or label words at the answer position (decoder-only).",
    )
    revision: str | None = Field(None, description="Hub revision (a commit, best).")
    max_length: int = Field(
        128, ge=8, description="Tokens an example; longer ones are truncated and counted."
    )
    prompt: str | None = Field(
        None, description="Verbalizer: a template with the text fields in braces; default: a plain one."
    )
    label_words: tuple[str, ...] | None = Field(
        None, description="Verbalizer: one word per label, in label order."
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="The model's own dropout, everywhere; default: as its configuration says.",
    )
    dtype: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="What the base's weights are kept in; adapters and a fresh head stay fp32. bf16 belongs to lora "
        "and ia3: it would swallow the small updates of full fine-tuning.",
    )
    quantization: Literal["nf4"] | None = Field(
        None, description="4-bit base (bitsandbytes) under lora or ia3; computes in dtype."
    )
    tag: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_]+$",
        description="Added to the name in tables and folders; tells apart two that differ in other settings alone.",
    )

    @property
    def label(self) -> str:
        """Short name for folders: the model's name, its head unless a classifier, its tag."""
        # Of a local folder only the last part names the model; a hub path keeps its owner.
        local = self.name.startswith(("/", ".", "~")) or "\\" in self.name
        parts = [part for part in self.name.replace("\\", "/").split("/") if part]
        name = parts[-1] if local and parts else "--".join(parts)
        head = "" if self.head == "classifier" else self.head
        return "-".join(part for part in (name, head, self.tag) if part)


class MethodSpec(Spec):
    """How the model is made trainable. Learning rates belong here: methods need different ones."""

    name: Literal["full", "lora", "ia3"]
    learning_rate: float = Field(gt=0, description="Peak learning rate of AdamW.")
    rank: int | None = Field(None, ge=1, description="LoRA rank; required for lora, refused elsewhere.")
    alpha: float | None = Field(None, gt=0, description="LoRA alpha; default: 2 x rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="LoRA dropout.")
    targets: tuple[str, ...] | None = Field(
        None, description="Target modules; default: the model's usual ones."
    )
    tag: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_]+$",
        description="Added to the name in tables and folders; tells apart two that differ in other settings alone.",
    )

    @model_validator(mode="after")
    def _rank_fits(self) -> MethodSpec:
        if self.name == "lora" and self.rank is None:
            raise ValueError("lora needs a rank, e.g. rank: 8")
        if self.name != "lora":
            lora_settings = [f for f in ("rank", "alpha") if getattr(self, f) is not None]
            lora_settings += ["dropout"] if self.dropout else []
            if lora_settings:
                raise ValueError(f"{', '.join(lora_settings)} belongs to lora, not to {self.name}")
        if self.name == "full" and self.targets is not None:
            raise ValueError("targets belongs to lora and ia3: full trains every weight")
        return self

    @property
    def label(self) -> str:
        """Short name for tables and folders: `lora-r8`, `full`, `ia3`, with the tag if there is one."""
        name = f"lora-r{self.rank}" if self.name == "lora" else self.name
        return f"{name}-{self.tag}" if self.tag else name


class NoiseSpec(Spec):
    """Label noise injected into the training labels, with its flip mask saved beside the curves."""

    kind: Literal["uniform", "nearest", "annotators"] = Field(
        "uniform",
        description="Another class at random, the next class in label order, or one drawn from the item's own "
        "annotator distribution.",
    )
    rate: float = Field(gt=0, lt=1, description="Share of training labels that are flipped.")


class TrainingSpec(Spec):
    """The optimisation, common to the methods of a study."""

    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, ge=1, description="Examples an optimiser step.")
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description="Micro-batches per step, split by length: less memory. The gradient is that of the whole batch.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Not applied to biases and normalisation weights.")
    warmup: float = Field(0.06, ge=0, lt=1, description="Share of the steps with a rising learning rate.")
    decay: Literal["linear", "cosine", "constant"] = "linear"
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping by global norm.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 computes under autocast; weights stay fp32."
    )
    noise: NoiseSpec | None = None


class TrackingSpec(Spec):
    """When and how the tracked set is measured."""

    points: int = Field(20, ge=2, description="Tracking points, step 0 and the last step included.")
    schedule: Literal["linear", "log"] = "linear"
    steps: tuple[int, ...] | None = Field(
        None, description="Explicit steps instead; 0 and the last are added."
    )
    token_budget: int = Field(4096, ge=1, description="Tokens a forward pass of the tracking pass.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="bf16 lets tracking passes compute in bf16, whatever training does; results are rounded.",
    )


class DatasetSpec(Spec):
    """What is tracked and what is trained on."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Name in tables and folders.")
    tracked: AnySource
    train: AnySource | None = Field(
        None, description="Training pool; without one, only the tracked set is trained on."
    )
    tracked_size: int | None = Field(
        None, ge=2, description="Track this many, stratified by annotation entropy."
    )
    train_size: int | None = Field(None, ge=1, description="Draw this many from the training pool (seeded).")
    exclude_shared: tuple[str, ...] = Field(
        (), description="Drop training examples that share one of these text fields with a tracked example."
    )

    @model_validator(mode="after")
    def _pool_settings_need_a_pool(self) -> DatasetSpec:
        pool_settings = [name for name in ("train_size", "exclude_shared") if getattr(self, name)]
        if self.train is None and pool_settings:
            raise ValueError(
                f"{' and '.join(pool_settings)} is about the training pool, and no 'train' source is given"
            )
        return self


class RunSpec(Spec):
    """One cell: a condition (model x dataset x method x regime) with a seed."""

    dataset: DatasetSpec
    model: ModelSpec
    method: MethodSpec
    regime: Regime
    seed: int = Field(0, ge=0)
    training: TrainingSpec = TrainingSpec()
    tracking: TrackingSpec = TrackingSpec()
    variant: str | None = Field(
        None, description="What sets this cell apart from the study's own one at the same place of its grid."
    )

    @model_validator(mode="after")
    def _something_to_train_on(self) -> RunSpec:
        if self.regime == "held_out" and self.dataset.train is None:
            raise ValueError(
                f"dataset {self.dataset.name!r} has no 'train' source, so nothing can be held out of it"
            )
        return self

    @model_validator(mode="after")
    def _full_trains_full_precision(self) -> RunSpec:
        if self.method.name != "full":
            return self
        if self.model.quantization is not None:
            raise ValueError(
                f"quantization: {self.model.quantization} keeps the base in 4 bits, which cannot be trained; use "
                "lora or ia3, or leave quantization out"
            )
        if self.model.dtype != "fp32":
            raise ValueError(
                f"full fine-tuning in dtype: {self.model.dtype} would lose updates smaller than a weight's last digit; "
                "keep dtype: fp32 and compute in bf16 with training: {precision: bf16} (sharding: fsdp makes room), or "
                "use lora or ia3"
            )
        return self

    @property
    def condition(self) -> str:
        """Readable name of the condition: dataset.model.method.regime, and the variant if it is one."""
        place = f"{self.dataset.name}.{self.model.label}.{self.method.label}.{self.regime}"
        return place if self.variant is None else f"{place}.{self.variant}"

    @property
    def cell_id(self) -> str:
        """Folder name: condition, seed and the first eight hex digits of the digest."""
        safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in self.condition)[-150:].lstrip(".-")
        return f"{safe}.s{self.seed}-{self.digest()[:8]}"
