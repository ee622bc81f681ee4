"""Insides of other libraries (transformers, PEFT, torch, Accelerate, TRL) that are used, and what is done without them.

An inside is what a library does not promise: a private attribute, the name of a class, the parts of a layer. Each is
listed once here, with a check that reads the library itself. Where a check fails, the code that needs the inside takes
the plain way, and the log says so once; `tests/models/test_insides.py` fails with the same words.
docs/design/insides.md is the table for readers.
"""

from __future__ import annotations

import functools
import inspect
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

log = logging.getLogger("dissensus")


@dataclass(frozen=True)
class Inside:
    """One inside of one library.

    Attributes:
        library: the distribution's name.
        what: what of it is used, in words that end "no longer has ...".
        used_in: the module of this package that uses it.
        instead: what happens without it.
        check: whether it is there; what it raises counts as no.
    """

    library: str
    what: str
    used_in: str
    instead: str
    check: Callable[[], bool]

    def there(self) -> bool:
        """Whether the installed library has it."""
        try:
            with warnings.catch_warnings():  # a library's own about itself
                warnings.simplefilter("ignore")
                return self.check()
        except Exception:  # noqa: BLE001 - whatever a library that has moved may raise
            return False

    def gone(self) -> str:
        """The message where it is not there."""
        try:
            version = metadata.version(self.library)
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        return f"{self.library} {version} no longer has {self.what}: {self.instead}"


def _has(path: str, *names: str) -> bool:
    """Whether `package.module:Name` has these attributes, all of them."""
    module, _, name = path.partition(":")
    owner = import_module(module)
    owner = getattr(owner, name) if name else owner
    return all(hasattr(owner, each) for each in names)


def _attention() -> bool:
    from transformers import PreTrainedConfig

    interface = _has("transformers:AttentionInterface", "register")
    masks = _has("transformers:AttentionMaskInterface", "register")
    function = _has("transformers.masking_utils", "sdpa_mask")
    return interface and masks and function and hasattr(PreTrainedConfig(), "_attn_implementation")


def _adapted(config_name: str, **options: object) -> object:
    import peft
    import torch

    with torch.random.fork_rng(devices=[]):
        module = torch.nn.Sequential(torch.nn.Linear(2, 2))
        config = getattr(peft, config_name)(target_modules=["0"], **options)
        return peft.inject_adapter_in_model(config, module)[0]


def _lora() -> bool:
    from peft.tuners import lora

    layer = _adapted("LoraConfig", r=1)
    wanted = ("base_layer", "merged", "disable_adapters", "active_adapters", "lora_A", "lora_B", "scaling")
    more = ("lora_dropout", "lora_variant", "lora_bias")
    return (
        isinstance(layer, lora.Linear)
        and isinstance(layer, lora.LoraLayer)
        and all(hasattr(layer, name) for name in (*wanted, *more))
    )


def _ia3() -> bool:
    from peft.tuners import ia3

    layer = _adapted("IA3Config", feedforward_modules=[])
    wanted = ("base_layer", "merged", "disable_adapters", "active_adapters", "ia3_l", "is_feedforward")
    return isinstance(layer, ia3.Linear) and all(hasattr(layer, name) for name in wanted)


def _hooks() -> bool:
    from torch import nn

    return all(hasattr(nn.Linear(1, 1), name) for name in ("_forward_hooks", "_forward_pre_hooks")) and _has(
        "torch.nn.modules.module", "_global_forward_hooks", "_global_forward_pre_hooks"
    )


def _compiled() -> bool:
    import torch
    from torch import nn

    compiled: Any = torch.compile(nn.Linear(1, 1))
    return "_orig_mod" in compiled._modules and hasattr(nn.Linear(1, 1), "_compiled_call_impl")


def _initialised() -> bool:
    from transformers import PreTrainedModel

    reads = inspect.getsource(inspect.getmodule(PreTrainedModel) or PreTrainedModel)
    return hasattr(PreTrainedModel, "initialize_weights") and "_is_hf_initialized" in reads


def _sharded() -> bool:
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    return (
        FSDPModule.__name__ == "FSDPModule"
        and FullyShardedDataParallel.__name__ == "FullyShardedDataParallel"
        and DTensor.__name__ == "DTensor"
        and all(hasattr(DTensor, name) for name in ("full_tensor", "to_local", "device_mesh", "placements"))
    )


def _columns() -> bool:
    from transformers import Trainer

    return hasattr(Trainer, "_set_signature_columns_if_needed") and "_signature_columns" in inspect.getsource(
        Trainer._set_signature_columns_if_needed
    )


def _callbacks() -> bool:
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler

    source = inspect.getsource(CallbackHandler.__init__)
    return "self.callbacks" in source and "self.callback_handler" in inspect.getsource(Trainer.__init__)


def _dpo_settings() -> bool:
    import trl

    wanted = {
        "beta",
        "loss_type",
        "max_length",
        "truncation_mode",
        "f_divergence_type",
        "precompute_ref_log_probs",
    }
    return wanted <= set(inspect.signature(trl.DPOConfig).parameters)


INSIDES = {
    "attention interface": Inside(
        "transformers",
        "AttentionInterface, AttentionMaskInterface, sdpa_mask and config._attn_implementation as they were",
        "models.attention",
        "attention over packed rows falls back to padded batches and the model's own attention; attention "
        "dropout, where a model has any, is then drawn from torch's generator",
        _attention,
    ),
    "transposed layers": Inside(
        "transformers",
        "pytorch_utils.Conv1D",
        "models.merging",
        "GPT-2's projections are left to PEFT and to their own forward pass, in full precision",
        lambda: _has("transformers.pytorch_utils", "Conv1D"),
    ),
    "mapping names": Inside(
        "transformers",
        "modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        "models.model_files",
        "only the model types of models/registry.py can be told apart as encoders and decoders",
        lambda: _has(
            "transformers.models.auto.modeling_auto",
            "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
            "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        ),
    ),
    "fresh weights": Inside(
        "transformers",
        "PreTrainedModel.initialize_weights and the mark _is_hf_initialized",
        "models.low_precision",
        "a fresh head over a base in bf16 or 4 bits keeps the rounded numbers that it was loaded with, and other "
        "precisions of the base begin with other ones",
        _initialised,
    ),
    "signature columns": Inside(
        "transformers",
        "Trainer._set_signature_columns_if_needed and Trainer._signature_columns",
        "integrations.free",
        "the free mode cannot carry ids through a trainer's batches; "
        "dissensus.integrations.transformers.record passes over the examples itself",
        _columns,
    ),
    "callback order": Inside(
        "transformers",
        "Trainer.callback_handler.callbacks",
        "integrations.transformers",
        "aggregates reach the trainer's own log (trainer.state.log_history) but not the trackers",
        _callbacks,
    ),
    "lora layers": Inside(
        "peft",
        "LoRA layers of the parts that are known here (lora.Linear: lora_A, lora_B, scaling, lora_variant, ...)",
        "models.merging",
        "LoRA is computed by PEFT's own layers, unfolded",
        _lora,
    ),
    "ia3 layers": Inside(
        "peft",
        "IA3 layers of the parts that are known here (ia3.Linear: ia3_l, is_feedforward, ...)",
        "models.merging",
        "IA3 is computed by PEFT's own layers, unfolded",
        _ia3,
    ),
    "softmax backward": Inside(
        "torch",
        "torch._softmax_backward_data",
        "models.run_attention",
        "the gradient of attention is computed from its definition, in two more operations",
        lambda: _has("torch", "_softmax_backward_data"),
    ),
    "copies of lists": Inside(
        "torch",
        "torch._foreach_copy_",
        "models.fused_layers",
        "the factors of cells that train together are copied one by one",
        lambda: _has("torch", "_foreach_copy_"),
    ),
    "hooks": Inside(
        "torch",
        "nn.Module._forward_hooks and its kin",
        "models.patched",
        "hooks cannot be seen, so models are read by their own forward pass, padded and whole",
        _hooks,
    ),
    "compiled modules": Inside(
        "torch",
        "_orig_mod inside compiled modules, and nn.Module._compiled_call_impl",
        "models.wrappers",
        "tracking passes go through the compiled model, which compiles anew for their shapes",
        _compiled,
    ),
    "sharded weights": Inside(
        "torch",
        "FSDPModule, FullyShardedDataParallel and DTensor under these names",
        "models.sharded",
        "sharded models are not known as such, and recording from them is an error of their own forward pass",
        _sharded,
    ),
    "dpo settings": Inside(
        "trl",
        "DPOConfig with beta, loss_type, max_length, truncation_mode, f_divergence_type, precompute_ref_log_probs",
        "integrations.preferences",
        "a preference probe takes its own defaults; give it beta, max_length and truncation",
        _dpo_settings,
    ),
}
"""Name -> inside."""


@functools.cache
def present(name: str) -> bool:
    """Whether an inside of `INSIDES` is there; where it is not, the log says once what is done instead."""
    inside = INSIDES[name]
    if inside.there():
        return True
    log.warning("%s", inside.gone())
    return False
