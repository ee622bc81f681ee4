"""Patched forward passes, hooks and learned prompts, which quicker ways through a model would leave out.

A quicker way through a model (packed rows, body and head apart, folded adapters) leaves out the code that it goes
around. That is exact where that code is transformers' own and does what is known of it. Whatever somebody put there may
do nothing today and something tomorrow (a scale of 1, a bias of 0), so no comparison of numbers can clear it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

from dissensus.models.insides import present

KNOWN = ("transformers", "peft", "accelerate", "trl", "deepspeed", "torch", "dissensus")
"""Packages whose own forward passes and hooks are let through."""

RECOMPUTES = "torch.nn.utils"
"""Hooks from here (weight norm, spectral norm) make a layer's weight anew at each call, so they are not."""

FOLDABLE = ("LORA", "IA3", "ADALORA", "LOHA", "LOKR", "OFT", "BOFT", "HRA", "VERA", "RANDLORA", "LN_TUNING")
"""Kinds of PEFT adapters that live in the layers alone, so that a way around PEFT's own forward leaves nothing out."""


class OwnForward(partial):  # type: ignore[type-arg]
    """A forward pass that this package put into a layer, for a while or for training."""


def patched(model: nn.Module) -> str:
    """What in the model is not as its classes say, in words; '' where nothing is.

    A class of somebody's own deep inside a model computes as its class says; a transformers class whose `forward` was
    replaced does not, neither in the instance nor in the class.
    """
    if not present("hooks"):
        return "hooks cannot be seen with this version of torch"
    reason = _global_hook() or _prompts(model)
    if reason:
        return reason
    for name, module in model.named_modules():
        where = f"{name or 'the model'} ({type(module).__name__})"
        if _replaced(module):
            return f"the forward pass of {where} is patched"
        if _hooked(module):
            return f"{where} has a forward hook"
    return ""


def patched_inside(layer: nn.Module) -> bool:
    """Whether a layer's own forward pass is patched, or anything inside it is patched or hooked."""
    return (
        _replaced(layer)
        or not present("hooks")
        or any(_replaced(part) or _hooked(part) for part in layer.modules() if part is not layer)
    )


def learns_prompts(model: nn.Module) -> bool:
    """Whether PEFT puts learned tokens or states in front of the text (prompt, prefix and p-tuning and their kin)."""
    return any(getattr(config, "is_prompt_learning", False) for config in _adapters(model))


def _prompts(model: nn.Module) -> str:
    for config in _adapters(model):
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if kind not in FOLDABLE or getattr(config, "alora_invocation_tokens", None):
            return f"PEFT's {kind} does more than its layers show"
    return ""


def _adapters(model: nn.Module) -> Iterator[Any]:
    """The configurations of all adapters that the model has."""
    for module in model.modules():
        configs = getattr(module, "peft_config", None)
        if isinstance(configs, dict):
            yield from configs.values()


def _replaced(module: nn.Module) -> bool:
    attributes = module.__dict__
    if "forward" in attributes:
        forward = attributes["forward"]
        if isinstance(forward, OwnForward) or forward is attributes["_modules"].get("_orig_mod"):
            return False
        return not _is_known(forward, KNOWN)
    for kind in type(module).__mro__:
        if "forward" in kind.__dict__:
            # A class of somebody's own may have a forward pass of its own, and no other one.
            return not _is_known(kind.__dict__["forward"], (*KNOWN, kind.__module__.split(".")[0]))
    return False


def _hooked(module: nn.Module) -> bool:
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return any(_is_foreign(hook) for hook in hooks)


def _global_hook() -> str:
    hooks = (*torch_module._global_forward_hooks.values(), *torch_module._global_forward_pre_hooks.values())
    return "there is a forward hook on all modules" if any(_is_foreign(hook) for hook in hooks) else ""


def _is_foreign(hook: Callable[..., Any]) -> bool:
    return not _is_known(hook, KNOWN) or any(
        module_name.startswith(RECOMPUTES) for module_name in _modules_of(hook)
    )


def _is_known(function: Any, packages: tuple[str, ...]) -> bool:
    modules = list(_modules_of(function))
    return bool(modules) and all(module_name.split(".")[0] in packages for module_name in modules)


def _modules_of(function: Any) -> Iterator[str]:
    """The modules that a function and what it wraps were written in; nothing where that cannot be seen.

    `__module__` is no witness: `functools.wraps` copies it.
    """
    while function is not None:
        if isinstance(function, partial):
            function = function.func
            continue
        function = getattr(function, "__func__", function)
        if not hasattr(function, "__globals__"):
            kind = type(function)
            if kind.__module__ == "builtins":
                return
            yield kind.__module__
            return
        yield str(function.__globals__.get("__name__", ""))
        function = getattr(function, "__wrapped__", None)
