"""Training methods: a scoring model in, the same model out with the right weights trainable."""

from __future__ import annotations

import re
import warnings
from typing import Any, cast

import torch
from torch import nn

from dissensus.config import MethodSpec
from dissensus.errors import ModelError
from dissensus.models.dropout import install_keyed_dropout
from dissensus.models.low_precision import answer_in_own_precision
from dissensus.models.merging import lean_lora, stored_transposed
from dissensus.models.registry import ARCHITECTURES, Architecture
from dissensus.models.scoring import ScoringModel


def apply_method(model: ScoringModel, method: MethodSpec, *, adapter_seed: int) -> None:
    """Make `model.module` trainable as `method` says, in place.

    `full` trains every weight. `lora` and `ia3` freeze the body, add adapters through PEFT and train them
    together with the freshly initialised head, which keeps its initial weights. Adapter weights are drawn
    from `adapter_seed` alone. Dropout is keyed from here on (`models/dropout.py`).

    Raises:
        ModelError: the targets match no module, or are unknown for this architecture.
    """
    if method.name == "full":
        model.module.requires_grad_(True)
        model.dropout = install_keyed_dropout(model.module)
        return
    import peft

    config = peft_config(model, method, peft)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT asks transformers by an attribute name that transformers is about to retire: theirs to settle.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(adapter_seed)
        try:
            model.module = cast(nn.Module, peft.get_peft_model(cast(Any, model.module), config))
        except ValueError as error:
            raise ModelError(f"{method.label} could not be applied: {error}") from None
    model.dropout = install_keyed_dropout(model.module)
    lean_lora(model.module)
    answer_in_own_precision(model.module)


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, for those that training changes, in a fixed order."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def peft_config(model: ScoringModel, method: MethodSpec, peft: Any) -> Any:
    """PEFT's configuration of LoRA or IA3 for a model; `peft` is the imported package.

    Raises `ModelError` when the targets match no module, or are unknown for this architecture.
    """
    module = model.module
    model_type = str(cast(Any, module).config.model_type)
    architecture = ARCHITECTURES.get(model_type)
    if method.targets is None and architecture is None:
        raise ModelError(
            f"no usual adapter targets are known for the architecture {model_type!r}; name them in method.targets, "
            f"e.g. targets: [q_proj, v_proj]. Known: {', '.join(sorted(ARCHITECTURES))}"
        )
    # With explicit targets PEFT matches by suffix; the built-in ones are regular expressions over full names.
    targets: Any = list(method.targets) if method.targets else _pattern(architecture, method.name)
    names = [name for name, _ in module.named_modules()]
    hits = [n for n in names if _matches(n, targets)]
    if not hits:
        raise ModelError(f"method.targets {targets!r} match no module of this {model_type} model")
    transposed = any(stored_transposed(module.get_submodule(n)) for n in hits)  # adapters must be told
    common = {
        "target_modules": targets,
        "modules_to_save": _trained_whole(model, method, names),
        "fan_in_fan_out": transposed,
    }
    if method.name == "lora":
        rank = int(method.rank or 0)
        return peft.LoraConfig(
            r=rank,
            lora_alpha=method.alpha if method.alpha is not None else 2 * rank,
            lora_dropout=method.dropout,
            **common,
        )
    feedforward: Any
    if method.feedforward is not None:
        feedforward = list(method.feedforward)
    elif method.targets:
        feedforward = [t for t in method.targets if architecture and _is_feedforward(t, names, architecture)]
    else:
        feedforward = architecture.ia3_feedforward if architecture else []
    return peft.IA3Config(feedforward_modules=feedforward, **common)


def _trained_whole(model: ScoringModel, method: MethodSpec, names: list[str]) -> list[str] | None:
    """Modules trained beside the adapter.

    Raises:
        ModelError: a name of `also_train` is no module's.
    """
    if method.also_train is None:
        return list(model.fresh) or None
    for wanted in method.also_train:
        # PEFT takes every module whose name ends so: `classifier` also means `pre_classifier`.
        if not any(name.endswith(wanted) for name in names):
            raise ModelError(f"method.also_train names {wanted!r}, which is no module of this model")
    return list(method.also_train) or None


def _pattern(architecture: Architecture | None, method: str) -> str:
    assert architecture is not None  # refused above
    return architecture.lora if method == "lora" else architecture.ia3


def _matches(name: str, targets: str | list[str]) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == t or name.endswith(f".{t}") for t in targets)


def _is_feedforward(target: str, names: list[str], architecture: Architecture) -> bool:
    hits = [n for n in names if _matches(n, [target])]
    return any(re.fullmatch(architecture.ia3_feedforward, n) for n in hits)
