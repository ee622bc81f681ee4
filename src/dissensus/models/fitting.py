"""Checkpoint weights held against the model that its configuration describes.

transformers draws what a file lacks from random numbers and leaves out what it does not know. That is right for a
scoring head, which a checkpoint of a language model cannot have, and wrong everywhere else: a layer of random numbers
trains too, and nobody is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dissensus.errors import ModelError
from dissensus.models.low_precision import stored_numbers

_LEFTOVER = re.compile(
    r"(^|\.)(position_ids|token_type_ids|masked_bias|inv_freq|_weight)$|\.(attn|attention)\.bias$|rotary_emb\."
)
"""Tensors of older checkpoints that today's models compute by themselves."""

_ADAPTER = re.compile(r"\.(lora_[A-Za-z_]+|ia3_l|base_layer)(\.|$)")

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of loading.

    Attributes:
        fresh: names of the modules that the checkpoint lacks and may lack: the scoring head.
        notes: what is out of the ordinary, a sentence each.
        loading: what is not: heads of other tasks that were left out, the head that was drawn.
    """

    fresh: tuple[str, ...]
    notes: tuple[str, ...]
    loading: tuple[str, ...]


def fit(
    module: Any,
    missing: set[str],
    unexpected: Iterable[str],
    *,
    name: str,
    head: str,
    quantized: bool = False,
) -> Fit:
    """Judge what transformers found missing and left out.

    Missing may be, of a classifier, whole modules outside the body, and the body's pooler, which checkpoints of
    masked language models do not have. Left out may be the heads of other tasks. Buffers are no weights.

    Args:
        module: the loaded model.
        missing: names that the checkpoint lacks.
        unexpected: names in the checkpoint that the model lacks.
        name: of the model, for messages.
        head: 'classifier' or 'verbalizer'.
        quantized: whether the files hold quantised weights, whose further tensors transformers knows.

    Raises:
        ModelError: the weights do not fit; it names those that are missing or left over, and how to correct it.
    """
    parameters = {key for key, _ in module.named_parameters()}
    prefix = module.base_model_prefix
    lacking = missing & parameters
    forbidden = {key for key in lacking if head != "classifier" or not _may_be_fresh(key, prefix, parameters)}
    fresh, single = outermost_modules(module, lacking - forbidden)
    extra = [key for key in sorted(unexpected) if not _LEFTOVER.search(key)]
    body = set() if quantized else {key for key in extra if _in_body(key, module)}
    adapters = [key for key in extra if _ADAPTER.search(key)]
    if adapters:
        raise ModelError(
            f"the weights of model {name!r} hold an adapter that was never merged ({_some(adapters)}). Merge it with "
            "peft (model.merge_and_unload()), save that with save_pretrained, and give its folder."
        )
    if forbidden or single or body:
        raise ModelError(_refusal(module, name, forbidden | single, extra if forbidden else sorted(body)))
    dropped = _by_module(extra)
    loading = [f"not used from the checkpoint: {_counted(dropped)}, of another task"] if dropped else []
    notes = []
    if fresh:
        loading.append(f"drawn from the seed, for the checkpoint lacks it: {', '.join(fresh)}")
    elif head == "classifier":
        notes.append(
            "the scoring head is the checkpoint's own, trained before; no seed changes where it starts"
        )
    return Fit(fresh, tuple(notes), tuple(loading))


def outermost_modules(module: nn.Module, keys: set[str]) -> tuple[tuple[str, ...], set[str]]:
    """Outermost modules all of whose parameters are among `keys`; and the keys in no such module."""
    inside: dict[str, list[str]] = {}
    for key, _ in module.named_parameters():
        parts = key.split(".")
        for end in range(1, len(parts)):
            inside.setdefault(".".join(parts[:end]), []).append(key)
    outermost: list[str] = []
    covered: set[str] = set()
    for name, _ in module.named_modules():  # outer ones come first
        members = inside.get(name, [])
        if members and not covered.issuperset(members) and keys.issuperset(members):
            outermost.append(name)
            covered.update(members)
    return tuple(outermost), keys - covered


def refuse_not_finite(module: nn.Module, name: str, *, dtype: str = "fp32") -> None:
    """Raise a `ModelError` that names the weights that are NaN or infinite; `dtype`: what they were loaded in."""
    damaged = [
        f"{key} ({words})" for key, parameter in module.named_parameters() if (words := not_finite(parameter))
    ]
    if damaged and dtype == "fp16":
        raise ModelError(
            f"weights of model {name!r} are not finite in dtype: fp16, which holds nothing above 65,504: "
            f"{_some(damaged)}. Use dtype: bf16 or fp32"
        )
    if damaged:
        raise ModelError(
            f"the weights of model {name!r} are damaged: {_some(damaged)}. No training mends that; take a checkpoint "
            "from before they broke, or fetch the files again."
        )


def not_finite(parameter: nn.Parameter) -> str:
    """How many numbers of a weight are NaN or infinite, in words; '' where all are finite."""
    nan = inf = size = 0
    for stored in stored_numbers(parameter):
        part = (
            stored.to_local() if hasattr(stored, "to_local") else stored
        )  # of a sharded one, this process' part
        if part.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            size += part.numel()
            if not bool(torch.isfinite(part).all()):
                nan, inf = nan + int(part.isnan().sum()), inf + int(part.isinf().sum())
    words = [f"{count} {kind}" for count, kind in ((nan, "NaN"), (inf, "infinite")) if count]
    return f"{' and '.join(words)} of {size} numbers" if words else ""


def shapes_differ(name: str, differing: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> str:
    """The message about weights whose shape in the file is not the model's: name -> (in the file, in the model)."""
    shown = [
        f"{key} is {_shape(stored)}, expected {_shape(expected)}"
        for key, (stored, expected) in differing.items()
    ]
    return (
        f"the weights of model {name!r} do not have the shapes that its config.json asks for: {_some(shown, '; ')}. "
        "Use the config.json that was saved with these weights."
    )


def _may_be_fresh(key: str, prefix: str, parameters: set[str]) -> bool:
    if not any(parameter.startswith(f"{prefix}.") for parameter in parameters):  # no body to tell a head from
        return key.split(".")[0] in ("classifier", "score")
    return not key.startswith(f"{prefix}.") or key.startswith(f"{prefix}.pooler.")


def _in_body(key: str, module: Any) -> bool:
    """Whether a tensor that the model lacks would be a part of its body; files may leave out the body's prefix."""
    prefix = module.base_model_prefix
    if key.startswith(f"{prefix}."):
        return not key.startswith(f"{prefix}.pooler.")
    first = key.split(".")[0]
    return first in dict(getattr(module, prefix, module).named_children()) and first not in dict(
        module.named_children()
    )


def _refusal(module: Any, name: str, missing: set[str], extra: Sequence[str]) -> str:
    lines = [f"the weights of model {name!r} do not fit the model that its config.json describes."]
    modules, single = outermost_modules(module, missing)
    if missing:
        counts = {outer: sum(key.startswith(f"{outer}.") for key in missing) for outer in modules}
        lines.append(f"Missing from the file: {_counted(counts | dict.fromkeys(sorted(single), 1))}.")
    if extra:
        lines.append(f"In the file, without a place in the model: {_counted(_by_module(extra))}.")
    if missing:
        lines.append("Only a scoring head may start from random numbers.")
    lines.append(_advice(module, missing, extra))
    return "\n".join(lines)


def _advice(module: Any, missing: set[str], extra: Sequence[str]) -> str:
    body = f"{module.base_model_prefix}."
    keys = [key for key, _ in module.named_parameters()]
    of_body = {key for key in keys if key.startswith(body)}
    if of_body and of_body - missing <= {key for key in of_body if key.startswith(f"{body}pooler.")}:
        first = f" (a name there: {extra[0]!r}; a name of the model: {min(of_body)!r})" if extra else ""
        return (
            f"No weight of the model's body is in the file{first}. It is of another architecture, or was saved from a "
            "module around the model: save the model itself, with model.save_pretrained(FOLDER)."
        )
    absent, wanted = _layers(missing), _layers(keys)
    last = absent == set(range(min(absent, default=0), max(wanted, default=0) + 1))
    if last and missing == {key for key in keys if _layer(key) in absent}:
        return (
            f"config.json asks for {_layer_count(wanted)}, and the file holds {min(absent)}: use the config.json "
            "that was saved with these weights, or fetch the file again if it should hold them."
        )
    if missing:
        return "The file is incomplete: save the model again with save_pretrained, or fetch it again."
    beyond = _layers(extra) - wanted
    more = (
        f"config.json asks for {_layer_count(wanted)}, and the file holds more. " if beyond and wanted else ""
    )
    return (
        f"{more}Use the config.json that was saved with these weights. If what is left over is not needed, load the "
        "model with transformers and save it with save_pretrained, once."
    )


def _layers(keys: Iterable[str]) -> set[int]:
    return {layer for layer in map(_layer, keys) if layer is not None}


def _layer_count(numbers: set[int]) -> str:
    count = max(numbers) + 1
    return f"{count} layer{'s' if count > 1 else ''}"


def _layer(key: str) -> int | None:
    """Number of the layer that a weight belongs to: the first number in its name."""
    match = re.search(r"\.(\d+)\.", f".{key}")
    return None if match is None else int(match.group(1))


def _by_module(keys: Iterable[str]) -> dict[str, int]:
    """Tensors in each module: names up to their first number, or their first two parts."""
    counts: dict[str, int] = {}
    for key in keys:
        numbered = re.match(r"(?:.*?\.)?\d+(?=\.)", key)
        group = numbered.group(0) if numbered else ".".join(key.split(".")[:-1][:2]) or key
        counts[group] = counts.get(group, 0) + 1
    return counts


def _counted(counts: Mapping[str, int]) -> str:
    return _some([f"{name} ({n} tensor{'s' if n > 1 else ''})" for name, n in counts.items()])


def _some(words: Sequence[str], separator: str = ", ") -> str:
    more = len(words) - _SHOWN
    return separator.join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
