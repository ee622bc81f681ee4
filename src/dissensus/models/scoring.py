"""A model with its tokenizer and a head that scores labels: the one thing that training and tracking call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models.attention import PACKED, PADDED, PLUGS_IN, attending
from dissensus.models.dropout import DropoutKeys, Keys, token_keys
from dissensus.models.encoding import Encoded, encode
from dissensus.models.label_tokens import label_tokens_only
from dissensus.models.packing import PackedBatch, pack
from dissensus.models.registry import ARCHITECTURES
from dissensus.wording import first_line

Batch = Mapping[str, Tensor]
T = TypeVar("T")


@dataclass
class ScoringModel:
    """A model that gives one logit per label.

    Attributes:
        module: the transformers model; `train.methods` may replace it with an adapted one.
        tokenizer: its tokenizer.
        kind: 'encoder' or 'decoder'.
        head: 'classifier' or 'verbalizer'.
        fresh: names of the modules whose weights were newly initialised (the head).
        pad_id: token id used for padding; always masked.
        template: text template of decoder-only models, None for encoders.
        max_length: in tokens.
        answer_ids: verbalizer: token id of each label's word.
        fingerprint: SHA-256 of the loaded weights, the fresh ones left out.
        origin: where the weights came from.
        note: what a reader of results must know.
        notes: what was out of the ordinary in loading: prefixes that were stripped, a head that came with the file.
        loading: what was not: heads of other tasks that were left out, the head that was drawn.
        segments: whether segment ids are made, where the tokenizer makes them.
        cut_at_end: whether a template that is too long is cut at its end; see `encoding.encode`.
        packs: whether batches are computed as packed rows; False computes them padded, with the same numbers.
        dropout: keys of the keyed dropout, once `train.methods` has installed it.
        entry: what the model's parts are called through where several processes train it (`train/parallel.py`).
        placed: where it computes, if that is not where its weights are.
    """

    module: nn.Module
    tokenizer: Any
    kind: str
    head: str
    fresh: tuple[str, ...]
    pad_id: int
    template: str | None
    max_length: int
    answer_ids: tuple[int, ...] | None
    fingerprint: str
    origin: str
    note: str
    packs: bool
    notes: tuple[str, ...] = ()
    loading: tuple[str, ...] = ()
    segments: bool = True
    cut_at_end: bool = False
    dropout: DropoutKeys = field(default_factory=DropoutKeys)
    entry: Callable[[Callable[[], Any]], Any] | None = None
    placed: torch.device | None = None
    _reads: tuple[str, Tensor | None] | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.module.parameters()).device if self.placed is None else self.placed

    def encode(self, dataset: AnnotatedDataset) -> Encoded:
        """Token ids of every example."""
        return encode(
            dataset,
            self.tokenizer,
            max_length=self.max_length,
            template=self.template,
            segments=self.segments,
            cut_at_end=self.cut_at_end,
        )

    def score_rows(
        self, encoded: Encoded, rows: Sequence[int] | NDArray[np.int64], *, stream: int | None = None
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Label logits of some examples, by the quickest layout that the model can read.

        Args:
            encoded: the data set.
            rows: which examples.
            stream: keys dropout, where the model is in training mode (see `dropout.token_keys`); without one
                torch's generator is drawn from.

        Returns:
            The rows in the order of the logits, shape (b,); and the logits, shape (b, K), float32 or wider.
        """
        device = self.device
        try:
            if self.packs:
                batch = pack(encoded, rows).to(device)
                if stream is not None:
                    self.key_dropout(batch, stream)
                return batch.rows, self.through(lambda: self.score(self.features(batch)))
            row_numbers = np.asarray(rows, dtype=np.int64)
            padded = {k: v.to(device) for k, v in encoded.batch(row_numbers.tolist(), self.pad_id).items()}
            if stream is not None:
                width = np.arange(padded["input_ids"].shape[1], dtype=np.int64)
                self.dropout.padded(token_keys(stream, row_numbers[:, None], width[None]), device)
            return row_numbers, self.through(lambda: self.logits(padded))
        finally:
            self.dropout.clear()

    def through(self, work: Callable[[], T]) -> T:
        """What `work()` gives, which computes with the model's parts: called through `entry` where there is one."""
        return work() if self.entry is None else cast(T, self.entry(work))

    def recomputing(
        self,
    ) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        """What a block's forward pass runs in now, and what its repetition on the way back runs in.

        Gradient checkpointing asks at each block. By the time of the repetition the batch has been forgotten, so that
        what the block is to be told of it again (dropout keys, the way to attend, label tokens) is kept here.
        """
        return contextlib.nullcontext(), self._again(self._reads, self.dropout.held())

    @contextlib.contextmanager
    def _again(self, reads: tuple[str, Tensor | None] | None, keys: Keys) -> Iterator[None]:
        with self.dropout.holding(keys), self._reading(*reads) if reads else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def _reading(self, implementation: str, at: Tensor | None = None) -> Iterator[bool]:
        """While this lasts the model attends by `implementation`; whether its last layer sees the tokens `at` alone."""
        before, self._reads = self._reads, (implementation, at)
        only = contextlib.nullcontext(False) if at is None else label_tokens_only(self.base, at)
        try:
            with attending(self.base.config, implementation), only as at_labels:
                yield at_labels
        finally:
            self._reads = before

    def key_dropout(self, batch: PackedBatch, stream: int) -> None:
        """Let dropout draw from the keys of a packed batch (`dropout.token_keys`) until `dropout.clear()`."""
        places = np.concatenate([np.arange(n, dtype=np.int64) for n in batch.lengths])
        keys = token_keys(stream, np.repeat(batch.rows, batch.lengths), places)
        self.dropout.packed(keys, batch, self.label_at(batch))

    def label_at(self, batch: PackedBatch) -> Tensor:
        """Index of each example's label token in the row: the first token, or a decoder's last; shape (b,)."""
        return batch.first if self.kind == "encoder" else batch.last

    def features(self, batch: PackedBatch) -> Tensor:
        """What the head reads of each example, shape (b, d), in the batch's order.

        The state of its label token; the mean over its tokens where the model pools so (ModernBERT).
        """
        base, architecture = self.base, ARCHITECTURES[self.base.config.model_type]
        inputs: dict[str, Any] = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
        if batch.token_type_ids is not None:
            inputs["token_type_ids"] = batch.token_type_ids
        if architecture.positions_after_padding:
            inputs["position_ids"] = batch.position_ids + (base.config.pad_token_id + 1)
        if architecture.wide_ids:
            inputs = {name: ids.long() for name, ids in inputs.items()}
        if self.kind == "decoder":
            inputs["use_cache"] = False  # it would keep every layer's keys and values
        at = self.label_at(batch)
        with self._reading(PACKED, at) as only:
            states = self.body(**inputs, layout=batch.layout).last_hidden_state[0]
        if only:
            return cast(Tensor, states)
        if getattr(base.config, "classifier_pooling", None) == "mean" and self.kind == "encoder":
            parts = zip(batch.layout.runs, states.split(batch.layout.sizes), strict=True)
            means = [p.view(run.examples, run.length, -1).mean(dim=1) for run, p in parts]
            return torch.cat(means)
        return cast(Tensor, states[at])

    def score(self, features: Tensor) -> Tensor:
        """Label logits, at least float32, shape (b, K), of features (b, d): the head by itself."""
        base = self.base
        if self.answer_ids is not None:
            head = base.get_output_embeddings()
            rows = torch.tensor(self.answer_ids, device=features.device)
            bias = None if head.bias is None else _at_least_float32(head.bias[rows])
            weight = head.weight[rows]
            if weight.dtype in (torch.bfloat16, torch.float16):  # logits that are rounded tie
                features, weight = features.float(), weight.float()
            return _at_least_float32(nn.functional.linear(features, weight, bias))
        architecture = ARCHITECTURES.get(base.config.model_type)
        states = features[:, None] if architecture and architecture.head_reads_sequence else features
        for name in architecture.head if architecture else ("score",):
            states = states.relu() if name == "relu" else base.get_submodule(name)(states)
        return _at_least_float32(states)

    def logits(self, batch: Batch) -> Tensor:
        """Label logits of a padded batch, at least float32, shape (b, K), in the batch's order."""
        base = self.base
        architecture = ARCHITECTURES.get(base.config.model_type)
        plugs = PLUGS_IN and architecture is not None and architecture.packs
        with self._reading(PADDED) if plugs else contextlib.nullcontext():
            if self.kind == "encoder":
                return _at_least_float32(self.module(**batch).logits)
            # Right padding cannot reach an earlier position of a causal model, so the last real token's state is
            # exact, and only that one position meets the head.
            mask = batch["attention_mask"]
            states = self.body(
                input_ids=batch["input_ids"], attention_mask=mask, use_cache=False
            ).last_hidden_state
        last = mask.sum(dim=1) - 1
        return self.score(states[torch.arange(states.shape[0], device=states.device), last])

    @property
    def base(self) -> Any:
        """The transformers model inside a PEFT wrapper (adapters stay: they live in its layers)."""
        adapted: Any = self.module
        return adapted.get_base_model() if hasattr(adapted, "get_base_model") else adapted

    @property
    def body(self) -> Any:
        """The transformer without its head."""
        base = self.base
        return base.get_decoder() if self.head == "verbalizer" else getattr(base, base.base_model_prefix)


def packed_rows_agree(model: ScoringModel) -> bool:
    """Whether a model gives packed rows what it gives padded batches, asked of two short rows of tokens.

    A transformers whose layers no longer hand through what packed rows need shows here, before any training. Rounding
    passes: the bound is a thousandth of the largest logit in full precision, a tenth in half.
    """
    vocabulary = int(getattr(model.base.config, "vocab_size", 16))
    tokens = [token for token in range(min(vocabulary, 16)) if token != model.pad_id][:8]
    two_rows = Encoded(("short", "long"), (tuple(tokens[:3]), tuple(tokens)), None, 0)
    was, logits = model.packs, []
    with torch.no_grad():
        for packs in (False, True):
            model.packs = packs
            try:
                rows, scores = model.score_rows(two_rows, [0, 1])
            except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError):
                return not packs  # where padded batches fail alike, they say why when they are needed
            finally:
                model.packs = was
            logits.append(scores[torch.from_numpy(np.argsort(rows))])
    padded, packed = logits
    half = next(model.module.parameters()).dtype in (torch.bfloat16, torch.float16)
    bound = (0.1 if half else 1e-3) * padded.abs().max().clamp(min=1.0)
    return not bool((padded - packed).abs().max() > bound)  # NaN in both is no disagreement


def scoring_view(module: nn.Module, pad_id: int) -> ScoringModel | None:
    """A model from somebody's own script as a scoring model that packs, or None where it is not of a known kind.

    It shares the module and changes nothing in it. Known are transformers' own sequence classifiers, PEFT-adapted or
    not, of the architectures that pack, in full precision; whether the module then answers as such a model does is for
    the caller to see.
    """
    base: Any = module
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    kind = type(base)
    model_type = str(getattr(getattr(base, "config", None), "model_type", ""))
    architecture = ARCHITECTURES.get(model_type)
    if (
        architecture is None
        or not architecture.packs
        or not PLUGS_IN
        or not kind.__module__.startswith("transformers.models.")
        or not kind.__name__.endswith("ForSequenceClassification")
        or next(module.parameters()).dtype not in (torch.float32, torch.float64)
    ):
        return None
    return ScoringModel(
        module=module,
        tokenizer=None,
        kind=architecture.kind,
        head="classifier",
        fresh=(),
        pad_id=pad_id,
        template=None,
        max_length=0,
        answer_ids=None,
        fingerprint="",
        origin="",
        note="",
        packs=True,
    )


def device_for(name: str | None = None) -> torch.device:
    """The device asked for, else a GPU where there is one, else the CPU."""
    if name is not None:
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            first = first_line(error)
            raise ModelError(f"the device {name!r} cannot be used here: {first}") from None
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
