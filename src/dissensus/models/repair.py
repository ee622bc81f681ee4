"""Weights that transformers would not load as they are stored: names with prefixes, a head for other labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dissensus.errors import ModelError
from dissensus.models.fitting import shapes_differ
from dissensus.models.resolve import ResolvedModel
from dissensus.models.stored_weights import StoredWeights, placing, read_tensors, stored_weights, unwrapped


@dataclass(frozen=True, slots=True)
class Repair:
    """Weights that transformers would not load as they are stored.

    Attributes:
        made_by: the model's class.
        tensors: under the names that the model has for them.
        notes: what was changed, a sentence each.
    """

    made_by: Any
    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...]


def repair(
    name: str, resolved: ResolvedModel, factory: Any, config: Any, *, empty: bool = False
) -> Repair | None:
    """The weights without prefixes of wrappers and without a head for other labels; None where nothing is to change.

    Args:
        name: of the model, for messages.
        resolved: its files.
        factory: what builds it (a transformers `AutoModel` class).
        config: its configuration, for the labels of the data.
        empty: read no weights; the tensors have their shapes alone.

    Raises:
        ModelError: other weights than a head's have another shape than the model's.
    """
    if resolved.gguf_file or getattr(config, "quantization_config", None) is not None:
        return None
    stored = stored_weights(resolved.location, resolved.revision)
    if stored is None:
        return None
    with torch.device("meta"):
        bare = factory.from_config(config, trust_remote_code=False)
    expected = {key: tuple(value.shape) for key, value in bare.state_dict().items()}
    place = placing(expected, bare.base_model_prefix)
    naming = unwrapped(stored.shapes, place)
    notes = list(naming.notes)
    head = _other_head(name, stored, naming.names, expected, place, bare.base_model_prefix)
    if head:
        sizes = stored.shapes[head[-1]][0]
        notes.append(
            f"the checkpoint's own scoring head was left out ({', '.join(naming.names[key] for key in head)}): it is "
            f"for {sizes} labels, and the data have {config.num_labels}"
        )
    if not notes:
        return None
    renamed = {key: naming.names[key] for key in stored.shapes if key not in head}
    tensors = (
        {renamed[key]: torch.empty(stored.shapes[key], device="meta") for key in renamed}
        if empty
        else read_tensors(stored, renamed)
    )
    return Repair(type(bare), tensors, tuple(notes))


def _other_head(
    name: str,
    stored: StoredWeights,
    names: Mapping[str, str],
    expected: Mapping[str, tuple[int, ...]],
    place: Callable[[str], str | None],
    prefix: str,
) -> list[str]:
    """Names in the file of a scoring head for another number of labels; refuses what else differs in shape."""
    places = {key: where for key in stored.shapes if (where := place(names[key])) is not None}
    differ = {key: where for key, where in places.items() if stored.shapes[key] != expected[where]}
    labels = {
        key
        for key, where in differ.items()
        if not where.startswith(f"{prefix}.")
        and where.split(".")[0] in ("classifier", "score")
        and len(stored.shapes[key]) == len(expected[where])
        and stored.shapes[key][1:] == expected[where][1:]
    }
    wrong = {differ[key]: (stored.shapes[key], expected[differ[key]]) for key in differ if key not in labels}
    if wrong:
        raise ModelError(shapes_differ(name, wrong))
    # All weights of such a head go, those that would fit too: half of another task's head is no start for a new one.
    heads = {differ[key].split(".")[0] for key in labels}
    of_heads = [key for key, where in places.items() if where.split(".")[0] in heads]
    return sorted(of_heads, key=lambda key: (key in labels, key))
