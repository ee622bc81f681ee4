"""From a specification of a model to a scoring model: its files, tokenizer, weights and head.

Weights are fp32, or as `dtype` and `quantization` say. Modules that the checkpoint lacks are always fp32, with the
numbers that they have over an fp32 base, so that cells that differ in the base's precision share them. Nothing but a
scoring head may be lacking (`fitting.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from dissensus.config import ModelSpec
from dissensus.errors import MissingDependencyError, ModelError
from dissensus.models.encoding import answer_template, plain_template
from dissensus.models.fitting import fit, refuse_not_finite
from dissensus.models.low_precision import DTYPES, keep_in_float32, keep_layout, quantized, stored_numbers
from dissensus.models.registry import ARCHITECTURES
from dissensus.models.repair import repair
from dissensus.models.resolve import ResolvedModel, resolve_model
from dissensus.models.scoring import ScoringModel
from dissensus.models.stored_weights import hub_file
from dissensus.wording import first_line

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
    found = resolve_model(spec.name, spec.revision)
    where: dict[str, Any] = {"revision": found.revision} if found.revision else {}
    where["trust_remote_code"] = False  # code that comes with weights is never run, nor asked about
    if found.gguf_file:
        _need_gguf(found)
        where["gguf_file"] = found.gguf_file
    _refuse_adapter(spec.name, found)
    with _quiet_transformers(), _explained(spec.name):
        config = transformers.AutoConfig.from_pretrained(found.location, **where)
        kind = _kind(config.model_type)
        if spec.head == "verbalizer" and kind == "encoder":
            raise ModelError(
                f"model {spec.name!r} is an encoder ({config.model_type}); the verbalizer head needs a decoder-only "
                "model. Use head: classifier."
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(found.location, **where)
        if spec.head == "verbalizer":
            factory: Any = transformers.AutoModelForCausalLM
            changed: dict[str, Any] = {}
        else:
            factory, changed = transformers.AutoModelForSequenceClassification, {"num_labels": len(labels)}
        changed |= _dropout_settings(config, spec)
        options: dict[str, Any] = {"dtype": DTYPES[spec.dtype], "output_loading_info": True}
        if spec.quantization is not None:
            options |= quantized(spec, device or torch.device("cpu"))
        own = transformers.AutoConfig.from_pretrained(found.location, **where, **changed)
        repaired = repair(spec.name, found, factory, own)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(head_seed)
            if repaired is None:
                safe = None if found.gguf_file else True
                module, info = factory.from_pretrained(
                    found.location, use_safetensors=safe, **where, **options, **changed
                )
            else:
                module, info = repaired.made_by.from_pretrained(
                    None, config=own, state_dict=repaired.tensors, **options
                )
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
    refuse_not_finite(module, spec.name)
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
    return ScoringModel(
        module=module,
        tokenizer=tokenizer,
        kind=kind,
        head=spec.head,
        fresh=fresh,
        pad_id=int(pad or 0),
        template=template,
        max_length=_max_length(spec, config),
        answer_ids=_answer_ids(tokenizer, words) if spec.head == "verbalizer" else None,
        fingerprint=_fingerprint(module, missing),
        origin=found.origin,
        note=found.note,
        notes=(*stripped, *fitted.notes),
        loading=fitted.loading,
        packs=config.model_type in ARCHITECTURES and ARCHITECTURES[config.model_type].packs,
    )


def _refuse_adapter(name: str, found: ResolvedModel) -> None:
    """A folder that holds an adapter: transformers would load the adapter's base from elsewhere, and it."""
    if found.gguf_file or hub_file(found.location, "adapter_config.json", found.revision) is None:
        return
    raise ModelError(
        f"{name!r} holds a PEFT adapter (adapter_config.json). Methods are applied to a whole model: merge the "
        "adapter into its base with peft (model.merge_and_unload()), save that with save_pretrained, and give that "
        "folder; or give the base itself."
    )


def _kind(model_type: str) -> str:
    from transformers.models.auto import modeling_auto

    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type].kind
    causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if causal and not masked:
        return "decoder"
    if masked:
        return "encoder"
    raise ModelError(
        f"model type {model_type!r} is neither an encoder nor a decoder-only language model that transformers knows; "
        f"tested: {', '.join(sorted(ARCHITECTURES))}"
    )


def _dropout_settings(config: Any, spec: ModelSpec) -> dict[str, float]:
    """The settings of a model's configuration that are a rate of dropout, at the rate that was asked for."""
    if spec.dropout is None:
        return {}
    rates = [
        name for name, value in vars(config).items() if _is_dropout(name) and isinstance(value, float | int)
    ]
    if not rates:
        raise ModelError(
            f"model {spec.name!r} ({config.model_type}) has no dropout to set to {spec.dropout}; leave 'dropout' out"
        )
    return dict.fromkeys(rates, spec.dropout)


def _is_dropout(name: str) -> bool:
    # GPT-2's are called resid_pdrop, embd_pdrop and attn_pdrop.
    return "dropout" in name or name.endswith("_pdrop")


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


def _need_gguf(found: ResolvedModel) -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingDependencyError("gguf", "gguf", f"reading {found.gguf_file}") from None


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"could not load model {name!r}: {first_line(error)}") from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and no report of the head's missing weights, which are expected here."""
    before = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()
