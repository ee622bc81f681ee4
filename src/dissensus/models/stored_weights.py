"""Weight files: their headers alone, and names of weights without the prefixes of wrappers.

Training wrappers put prefixes before the names of what they wrap: torch.compile `_orig_mod.`, DistributedDataParallel
`module.`. transformers finds no such name in the model and would draw every weight anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from transformers.utils import cached_file

from dissensus.errors import ModelError

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

_ANYWHERE = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
"""Parts of a name that only wrappers add, wherever they stand."""

_LEADING = {
    "module": "DistributedDataParallel or DataParallel",
    "model": "a training script's own module",
    "base_model": "a training script's own module",
}
"""The same at the front, where the model itself has no part of that name."""


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """The tensors of a model's safetensors files.

    Attributes:
        shapes: name in the file -> shape.
        files: name in the file -> the file.
    """

    shapes: Mapping[str, Shape]
    files: Mapping[str, str]


def stored_weights(location: str, revision: str | None) -> StoredWeights | None:
    """What the files at a folder or hub path hold; None where they are no safetensors files of the usual names.

    Raises:
        OSError: a shard is missing.
        ModelError: two shards hold one name.
    """
    single_file = hub_file(location, "model.safetensors", revision)
    if single_file is not None:
        shards = [single_file]
    else:
        index = hub_file(location, "model.safetensors.index.json", revision)
        if index is None:
            return None
        listed = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        shards = [
            str(cached_file(location, name, revision=revision)) for name in sorted(set(listed.values()))
        ]
    shapes: dict[str, Shape] = {}
    files: dict[str, str] = {}
    for shard in shards:
        with safe_open(shard, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                if name in files:
                    raise ModelError(f"{shard} and {files[name]} both hold the tensor {name!r}; one is stale")
                shapes[name], files[name] = tuple(tensors.get_slice(name).get_shape()), shard
    return StoredWeights(shapes, files)


def hub_file(location: str, name: str, revision: str | None) -> str | None:
    """A file of a folder or hub path, fetched if need be; None where there is none."""
    try:
        path = cached_file(location, name, revision=revision)
    except OSError:
        return None
    return None if path is None else str(path)


@dataclass(frozen=True, slots=True)
class Naming:
    """What the tensors of a file are called without the prefixes of wrappers.

    Attributes:
        names: name in the file -> name.
        notes: what was stripped, a sentence each.
    """

    names: Mapping[str, str]
    notes: tuple[str, ...]


def unwrapped(names: Iterable[str], place: Callable[[str], str | None]) -> Naming:
    """Strip the prefixes of known wrappers, nested ones too.

    Args:
        names: as they stand in the file.
        place: a name's place in the model, None where it has none. What has its place keeps its name.

    Raises:
        ModelError: two tensors would have one name.
    """
    stored_names = list(names)
    now = {name: ".".join(part for part in name.split(".") if part not in _ANYWHERE) for name in stored_names}
    stripped = {
        part: sum(part in name.split(".") for name in stored_names)
        for part in _ANYWHERE
        if any(part in name.split(".") for name in stored_names)
    }
    while lead := next((lead for lead in _LEADING if _leads(lead, now.values(), place)), None):
        having = [name for name in stored_names if now[name].startswith(f"{lead}.")]
        for name in having:
            now[name] = now[name].removeprefix(f"{lead}.")
        stripped[lead] = len(having)
    owners: dict[str, str] = {}
    for name, short in now.items():
        if short in owners:
            raise ModelError(
                f"the file holds {name!r} and {owners[short]!r}, which are one weight ({short!r}) without the "
                "prefixes of wrappers; save the model again with save_pretrained"
            )
        owners[short] = name
    wrappers = _ANYWHERE | _LEADING
    notes = tuple(
        f"the prefix '{part}.' ({wrappers[part]}) was stripped from the names of {count} weights"
        for part, count in stripped.items()
    )
    return Naming(now, notes)


def _leads(lead: str, names: Iterable[str], place: Callable[[str], str | None]) -> bool:
    """Whether `lead` stands before the names of a model whose own names it is not part of.

    Either none of the names that begin with it has a place and some have one without it, or all begin with it, some of
    them twice, for the model's own names begin with it too.
    """
    every = list(names)
    having = [name for name in every if name.startswith(f"{lead}.")]
    if len(having) == len(every) and any(name.startswith(f"{lead}.{lead}.") for name in having):
        return True
    shorter = (name.removeprefix(f"{lead}.") for name in having)
    return not any(map(place, having)) and any(map(place, shorter))


def placing(expected: Collection[str], prefix: str) -> Callable[[str], str | None]:
    """A tensor's place among a model's own names, with the prefix of its body added or taken off, as transformers does.

    Args:
        expected: the model's own names.
        prefix: of the body's names (`base_model_prefix`).
    """

    def place(name: str) -> str | None:
        for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
            if candidate in expected:
                return candidate
        # Old checkpoints call the weights of normalisation layers so; transformers renames them.
        modern = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
        return None if modern == name else place(modern)

    return place


def read_tensors(stored: StoredWeights, names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The tensors of some names in the files, under other names."""
    by_file: dict[str, list[str]] = {}
    for name in names:
        by_file.setdefault(stored.files[name], []).append(name)
    renamed = {}
    for file, members in by_file.items():
        with safe_open(file, framework="pt") as tensors:
            for name in members:
                renamed[names[name]] = tensors.get_tensor(name)
    return renamed
