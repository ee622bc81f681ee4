"""Loading a scoring model from its specification: files, tokenizer, weights and head.

Weights are fp32, or as `dtype` and `quantization` say. Modules that the checkpoint lacks are always fp32, with the
numbers that they have over an fp32 base, so that cells that differ in the base's precision share them. Nothing but a
scoring head may be lacking (`fitting.py`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import nn

from dissensus.config import ModelSpec
from dissensus.errors import ModelError
from dissensus.models.attention import PLUGS_IN
from dissensus.models.encoding import answer_template, plain_template
from dissensus.models.fitting import fit, refuse_not_finite
from dissensus.models.low_precision import DTYPES, keep_in_float32, keep_layout, quantized, stored_numbers
from dissensus.models.model_files import build_model, explained, model_files, quiet_transformers
from dissensus.models.registry import ARCHITECTURES
from dissensus.models.repair import repair
from dissensus.models.scoring import ScoringModel, packed_rows_agree

_log = logging.getLogger(__name__)


def load_scoring_model(
    spec: ModelSpec,
    labels: Sequence[str],
    fields: Sequence[str],
    *,
    head_seed: int,
    device: torch.device | None = None,
) -> ScoringModel:
    """Load tokenizer, weights and head.

    Args:
        spec: which model, head and prompt.
        labels: label names, in order.
        fields: text fields, in reading order.
        head_seed: seeds whatever the checkpoint lacks, so that methods and ranks share it.
        device: where a quantised base is made, which stays there; others are loaded into the CPU's memory.

    Raises:
        ModelError: the model cannot be found or loaded, its weights do not fill it or are not finite, or the head does
            not fit it.
        MissingDependencyError: the model's format or quantisation needs a package that is not installed.
    """
    with quiet_transformers(), explained(spec.name):
        files = model_files(spec, len(labels))
        resolved, config, kind, tokenizer = files.resolved, files.config, files.kind, files.tokenizer
        options: dict[str, Any] = {"dtype": DTYPES[spec.dtype], "output_loading_info": True}
        if spec.quantization is not None:
            options |= quantized(spec, device or torch.device("cpu"))
        repaired = repair(spec.name, resolved, files.factory, files.adjusted)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(head_seed)
            module, info = build_model(files, repaired, options)
    stripped = repaired.notes if repaired else ()
    missing = set(info["missing_keys"])
    fitted = fit(
        module,
        missing,
        info["unexpected_keys"],
        name=spec.name,
        head=spec.head,
        quantized=getattr(config, "quantization_config", None) is not None,
    )
    refuse_not_finite(module, spec.name, dtype=spec.dtype)
    fresh = fitted.fresh
    for line in stripped:
        _log.warning("model %s: %s", spec.name, line)
    if spec.dtype != "fp32" or spec.quantization is not None:
        keep_in_float32(module, fresh, head_seed)
        keep_layout(module)
    words = spec.label_words or tuple(labels)
    if len(words) != len(labels):
        raise ModelError(f"label_words has {len(words)} words for the {len(labels)} labels {list(labels)}")
    template = None
    if kind == "decoder":
        default = answer_template(fields, words) if spec.head == "verbalizer" else plain_template(fields)
        template = spec.prompt or default
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    module.config.pad_token_id = int(pad or 0)
    model = ScoringModel(
        module=module,
        tokenizer=tokenizer,
        kind=kind,
        head=spec.head,
        fresh=fresh,
        pad_id=int(pad or 0),
        template=template,
        max_length=_max_length(spec, config),
        segments=spec.segments,
        cut_at_end=spec.truncate == "end",
        answer_ids=_answer_ids(tokenizer, words) if spec.head == "verbalizer" else None,
        fingerprint=_fingerprint(module, missing),
        origin=resolved.origin,
        note=resolved.note,
        notes=(*stripped, *fitted.notes),
        loading=fitted.loading,
        packs=PLUGS_IN and config.model_type in ARCHITECTURES and ARCHITECTURES[config.model_type].packs,
    )
    if model.packs and not packed_rows_agree(model):
        model.packs = False
        _log.warning(
            "model %s (%s) does not give packed rows what it gives padded batches with transformers %s: it is read in "
            "padded batches, with the same numbers and slower",
            spec.name, config.model_type, transformers.__version__,
        )  # fmt: skip
    return model


def check_weights(spec: ModelSpec) -> None:
    """Raise what `load_scoring_model` would of a model's files, from its configuration and the files' headers alone.

    No weight is read, so whether they are finite is not seen. Quantised files are left to their loader.

    Raises:
        ModelError: see `load_scoring_model`.
    """
    with quiet_transformers(), explained(spec.name):
        files = model_files(spec, labels=2)  # a head for another number of labels is no fault
        _max_length(spec, files.config)
        if getattr(files.config, "quantization_config", None) is not None:
            return
        repaired = repair(spec.name, files.resolved, files.factory, files.adjusted, empty=True)
        module, info = build_model(files, repaired, {"device_map": "meta", "output_loading_info": True})
    missing = set(info["missing_keys"])
    fit(module, missing, info["unexpected_keys"], name=spec.name, head=spec.head)


def _max_length(spec: ModelSpec, config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None)
    known = ARCHITECTURES.get(config.model_type)
    usable = positions - known.spare_positions if positions and known else positions
    if usable and spec.max_length > usable:
        raise ModelError(
            f"max_length {spec.max_length} is more than the {usable} positions of model {spec.name!r}"
        )
    return spec.max_length


def _answer_ids(tokenizer: Any, words: Sequence[str]) -> tuple[int, ...]:
    ids = tuple(tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words)
    if len(set(ids)) < len(ids):
        raise ModelError(
            f"the label words {list(words)} do not begin with different tokens for this tokenizer; "
            "choose others with model.label_words"
        )
    return ids


def _fingerprint(module: nn.Module, missing: set[str]) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        if name not in missing:
            digest.update(name.encode())
            for part in stored_numbers(parameter):
                digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    assert digest.digest() != hashlib.sha256().digest()  # `fit` lets no model through that loaded nothing
    return digest.hexdigest()
