"""The specification of one cell: everything that decides its curves, and nothing else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dissensus.config.base import Spec
from dissensus.config.dataset import DatasetSpec
from dissensus.config.gradients import GradientSpec

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
        128, ge=8, description="Tokens per example; longer ones are truncated and counted."
    )
    truncate: Literal["longest", "end"] = Field(
        "longest",
        description="Decoder-only: shorten the longest text field, so that the prompt's own words stay; or cut the "
        "filled prompt at its end.",
    )
    segments: bool = Field(
        True,
        description="Encoders: tell the two texts of a pair apart by segment ids, where the model has them.",
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
    dtype: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="What the base's weights are kept in; adapters and a fresh head stay fp32. bf16 and fp16 belong to "
        "lora and ia3: they would swallow the small updates of full fine-tuning.",
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
    feedforward: tuple[str, ...] | None = Field(
        None,
        description="IA3: those of the targets whose input is scaled, not their output; default: the model's usual.",
    )
    also_train: tuple[str, ...] | None = Field(
        None,
        description="Modules trained whole beside the adapter, by the end of their names (`classifier`); default: "
        "every module that the checkpoint lacks, such as a fresh head. One that is not named stays as it was drawn.",
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
        if self.name == "full":
            for setting in ("targets", "also_train"):
                if getattr(self, setting) is not None:
                    raise ValueError(f"{setting} belongs to lora and ia3: full trains every weight")
        if self.feedforward is not None:
            if self.name != "ia3":
                raise ValueError(f"feedforward belongs to ia3, not to {self.name}")
            strangers = [part for part in self.feedforward if part not in (self.targets or ())]
            if strangers:
                raise ValueError(
                    f"feedforward names {strangers[0]!r}, which is none of the targets; name it in targets too"
                )
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
    rate: float = Field(gt=0, lt=1, description="Share of the labels that are flipped.")
    among: Literal["all", "tracked", "settled"] = Field(
        "all",
        description="Which training labels: all; those of tracked examples; those of settled tracked examples, by the "
        "data set's entropy_cuts. Losses are recorded on the label from before the flip, whichever it is.",
    )


class TrainingSpec(Spec):
    """The optimisation, common to the methods of a study."""

    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, ge=1, description="Examples per optimiser step.")
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description="Micro-batches per step, split by length: less memory. The gradient is that of the whole batch.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Of AdamW; see weight_decay_on.")
    weight_decay_on: Literal["matrices", "all"] = Field(
        "matrices",
        description="What decays: all but biases, normalisation weights and IA3's scales; or every trained weight.",
    )
    warmup: float = Field(0.06, ge=0, lt=1, description="Share of the steps with a rising learning rate.")
    warmup_from: Literal["first_step", "zero"] = Field(
        "first_step",
        description="With W warm-up steps the first update has 1/W of the peak; or 0, the second 1/W, and so on, with "
        "W rounded down: how transformers' schedules count.",
    )
    decay: Literal["linear", "cosine", "constant"] = "linear"
    min_factor: float = Field(
        0.0, ge=0, lt=1, description="After warm-up the rate never falls below this share of its peak."
    )
    class_weights: Literal["none", "inverse"] = Field(
        "none",
        description="inverse: a label weighs in the training loss by one over its number of training examples, and a "
        "batch's loss is the weighted mean. Tracked losses are never weighted.",
    )
    targets: Literal["gold", "annotators"] = Field(
        "gold",
        description="annotators: tracked examples that are trained on learn their annotators' label shares (KL "
        "divergence, without class weights), all others their gold label.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping by global norm.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 computes under autocast; weights stay fp32."
    )
    noise: NoiseSpec | None = None

    @model_validator(mode="after")
    def _targets_have_no_flips(self) -> TrainingSpec:
        if self.noise is not None and self.targets == "annotators" and self.noise.among != "all":
            raise ValueError(
                f"noise among the {self.noise.among} examples flips gold labels that targets: annotators does not "
                "train on; use one of the two"
            )
        return self


class TrackingSpec(Spec):
    """When and how the tracked set is measured."""

    points: int = Field(20, ge=2, description="Tracking points, step 0 and the last step included.")
    schedule: Literal["linear", "log"] = "linear"
    steps: tuple[int, ...] | None = Field(
        None, description="Explicit steps instead; 0 and the last are added."
    )
    every: int | None = Field(
        None, ge=1, description="A point after every so many steps instead; step 0 and the last are added."
    )
    epoch_ends: bool = Field(False, description="A point at the end of each epoch too.")
    token_budget: int = Field(4096, ge=1, description="Tokens per forward pass of the tracking pass.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="bf16 lets tracking passes compute in bf16, whatever training does; results are rounded.",
    )
    gradients: GradientSpec | None = Field(None, description="Measure gradients too: docs/gradients.md.")

    @model_validator(mode="after")
    def _one_spacing(self) -> TrackingSpec:
        if self.every is not None and self.steps is not None:
            raise ValueError("every and steps both place the tracking points; give one of them")
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
    def _settings_of_trained_on(self) -> RunSpec:
        if self.regime == "trained_on":
            noise = self.training.noise
            if noise is not None and noise.among == "settled" and self.dataset.entropy_cuts is None:
                raise ValueError(
                    "noise among settled examples goes by entropy class; give the data set's entropy_cuts, e.g. "
                    "{low: 0.4, high: 0.7, unit: nats}"
                )
            return self
        asked = {
            "train_groups": self.dataset.train_groups is not None,
            "keep_shared_texts": self.dataset.keep_shared_texts,
            "targets: annotators": self.training.targets == "annotators",
            "noise among tracked examples": self.training.noise is not None
            and self.training.noise.among != "all",
        }
        for name, given_here in asked.items():
            if given_here:
                raise ValueError(
                    f"{name} is about tracked examples that are trained on; this cell holds them out"
                )
        return self

    @model_validator(mode="after")
    def _gradients_go_by_entropy_class(self) -> RunSpec:
        if self.tracking.gradients is not None and self.dataset.entropy_cuts is None:
            raise ValueError(
                f"tracking.gradients goes by entropy class; give entropy_cuts to the data set {self.dataset.name!r}, "
                "e.g. {low: 0.4, high: 0.7, unit: nats}"
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
