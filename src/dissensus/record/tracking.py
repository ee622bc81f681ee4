"""The tracking pass: every tracked example's log-probabilities, weights fixed, dropout off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from dissensus.errors import ModelError
from dissensus.models.encoding import Encoded

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from dissensus.models.merging import Precision
    from dissensus.models.packing import PackedBatch
    from dissensus.models.scoring import ScoringModel
    from dissensus.models.shared_states import SharedStates
    from dissensus.record.processes import ProcessGroup

Score = Callable[["nn.Module", Mapping[str, "Tensor"]], "Tensor"]
"""(model, padded batch) -> label logits of shape (b, K)."""


class TrackedSet(Protocol):
    """The tracked rows, tokenised, sorted and cut into batches once for all passes.

    A row is what the model reads at once: an example, or one of the two answers of a preference pair.
    """

    def scores(
        self, model: nn.Module, *, untrained: bool, group: ProcessGroup
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """For each batch of this process' share: the rows it holds, and what was measured of them, (b, C).

        Of label sets these are log-probabilities over the labels, C = K. `untrained`: no step was taken yet, so
        states that another cell left may stand for the body's.
        """


class PaddedSet:
    """Batches of similar length, padded, for any model that a `Score` can read.

    Args:
        encoded: the examples.
        score: (model, padded batch) -> logits.
        pad_id: padding token id.
        token_budget: padded tokens per batch, at most (a longer example goes alone).
        batches: rows of each batch; default: of similar length.
    """

    def __init__(
        self,
        encoded: Encoded,
        score: Score,
        *,
        pad_id: int,
        token_budget: int,
        batches: Sequence[list[int]] | None = None,
    ) -> None:
        self._encoded = encoded
        self._score = score
        self._pad_id = pad_id
        self._batches = length_sorted_batches(encoded.lengths, token_budget) if batches is None else batches

    def scores(
        self,
        model: nn.Module,
        *,
        untrained: bool,  # noqa: ARG002 - nothing is known of the model's parts
        group: ProcessGroup,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `TrackedSet`."""
        from dissensus.models.sharded import computes_on

        device = computes_on(model)
        for rows in group.share(self._batches):
            batch = {k: v.to(device) for k, v in self._encoded.batch(rows, self._pad_id).items()}
            logits = self._score(model, batch)
            if logits.ndim != 2 or len(logits) != len(rows):
                raise ModelError(
                    f"a batch of {len(rows)} examples was scored with shape {tuple(logits.shape)}; expected "
                    "(examples, labels): one row per example, a column for each label"
                )
            yield np.array(rows, dtype=np.int64), over_labels(logits)


class PackedSet:
    """Rows of real tokens, without padding, for a `ScoringModel` that packs.

    Args:
        encoded: the examples.
        model: what scores them.
        token_budget: tokens per batch, at most (a longer example goes alone).
        states: shared with other cells at step 0.
    """

    def __init__(
        self, encoded: Encoded, model: ScoringModel, *, token_budget: int, states: SharedStates | None = None
    ) -> None:
        import torch

        from dissensus.models.packing import batches_by_tokens, pack

        self._encoded = encoded
        self._model = model
        self._states = states
        self._batches: list[PackedBatch] = [
            pack(encoded, rows, pin=torch.cuda.is_available())
            for rows in batches_by_tokens(encoded.lengths, token_budget)
        ]

    def scores(
        self, model: nn.Module, *, untrained: bool, group: ProcessGroup
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `TrackedSet`."""
        import torch

        from dissensus.models.sharded import computes_on

        device = computes_on(model)
        shared = self._states if untrained and group.world_size == 1 else None
        known = None if shared is None else shared.load()
        all_features: list[Tensor] = []
        begin = 0
        for batch in group.share(self._batches):
            if shared is None:
                yield batch.rows, over_labels(self._logits(batch.to(device)))
                continue
            if known is not None:
                features = known[begin : begin + len(batch.rows)].to(device)
                begin += len(batch.rows)
            else:
                features = self._model.features(batch.to(device))
                all_features.append(features.cpu())
            yield batch.rows, over_labels(self._model.score(features))
        if shared is not None and known is None:
            shared.save(torch.cat(all_features))

    def _logits(self, batch: PackedBatch) -> Tensor:
        model = self._model
        return model.through(lambda: model.score(model.features(batch)))

    def some(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tensor]:
        """Label logits (b, K) of a few examples, with the rows in their order."""
        return self._model.score_rows(self._encoded, rows)


def tracked_set(
    encoded: Encoded, model: ScoringModel, *, token_budget: int, states: SharedStates | None = None
) -> TrackedSet:
    """The layout that suits the model: packed where it can read that, else padded."""
    if model.packs:
        return PackedSet(encoded, model, token_budget=token_budget, states=states)
    return PaddedSet(
        encoded,
        lambda _module, batch: model.through(lambda: model.logits(batch)),
        pad_id=model.pad_id,
        token_budget=token_budget,
    )


def tracking_pass(
    model: nn.Module,
    tracked: TrackedSet,
    n: int,
    *,
    precision: Precision = "fp32",
    untrained: bool = False,
) -> NDArray[np.float32]:
    """What the model says of every row, shape (n, C), float32: of label sets, log-probabilities over the labels.

    Weights are fixed and dropout is off; modes, gradients and random state come back as they were, and adapters
    are folded into the weights for the time of the pass. Memory does not grow with n beyond the result. In a
    distributed run every process calls this, measures its share, and gets the whole.

    Args:
        model: the model as it is trained; wrappers around it (DDP, `torch.compile`) are left aside. Sharded weights
            (FSDP2) are gathered block by block by its forward pass, so every process makes as many of them.
        tracked: the rows.
        n: how many they are.
        precision: 'bf16' computes the model's blocks in bf16, which rounds the result.
        untrained: no step was taken yet (see `TrackedSet.scores`).

    Raises `ModelError` when this process holds a part of the weights only, or the processes measured other rows.
    """
    import torch

    from dissensus.models.merging import folded_adapters
    from dissensus.models.sharded import Whole, computes_on, sharded_modules
    from dissensus.models.wrappers import bare_module, plain_forward
    from dissensus.record.processes import EvenProcessGroup, process_group

    model = bare_module(model)
    group = process_group()
    device = computes_on(model)
    sharded = sharded_modules(model)
    even = EvenProcessGroup(group.rank, group.world_size) if sharded else None
    # fp32 switches off an autocast that the caller's loop is in: the curves' precision is not the training's.
    lower = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    order: list[NDArray[np.int64]] = []
    values: list[Tensor] = []
    folded = folded_adapters(model, precision, at_each_call=bool(sharded))
    scored_model = Whole(model) if sharded else model
    # What goes wrong in one process is raised in all, unless the passes themselves exchange weights.
    together = contextlib.nullcontext() if sharded else group.all_or_none(device)
    with together, undisturbed(model, device), plain_forward(model), folded, lower:
        for rows, batch in tracked.scores(scored_model, untrained=untrained, group=even or group):
            if even is not None and len(order) == even.counted:
                continue  # read once more for the other processes' sake
            order.append(rows)
            # Results stay where they were made until the last batch is under way: no batch waits for another.
            values.append(batch)
        for part in sharded:
            part.reshard()  # the outermost keeps what it gathered, which would be old after the next step
        measured = torch.cat(values).float().cpu().numpy() if values else np.zeros((0, 0), dtype=np.float32)
    (columns,) = group.broadcast(measured.shape[1:], device)  # a process may have no batch, the first one has
    out = (np.empty if group.world_size == 1 else np.zeros)((n, columns), dtype=np.float32)
    if order:
        out[np.concatenate(order)] = measured
    if group.world_size > 1:
        _each_once(n, order, group, device)
    return group.all_reduce(out, device)


def _each_once(n: int, order: Sequence[NDArray[np.int64]], group: ProcessGroup, device: torch.device) -> None:
    """Raise `ModelError` unless the processes' shares hold each row once: what they measured would be added up."""
    times = np.bincount(np.concatenate(order), minlength=n) if order else np.zeros(n)
    wrong = int((group.all_reduce(times.astype(np.float32), device) != 1).sum())
    if wrong:
        raise ModelError(
            f"{wrong} of {n} rows were measured by no process or by several of the {group.world_size}: they cut the "
            "tracked set into other batches, because one could read the model in packed rows and another could not. "
            "Track a LabelProbe with `score=`, with which all of them pad alike"
        )


def over_labels(logits: Tensor) -> Tensor:
    """Log-probabilities over the labels, at least float32, shape (b, K), of logits."""
    import torch

    return torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)


def length_sorted_batches(lengths: NDArray[np.int64], token_budget: int) -> list[list[int]]:
    """Rows grouped by length, longest first, so that rows x longest stays within the budget."""
    batches: list[list[int]] = []
    current: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        if current and (len(current) + 1) * int(lengths[current[0]]) > token_budget:
            batches.append(current)
            current = []
        current.append(row)
    if current:
        batches.append(current)
    return batches


def equal_length_batches(lengths: NDArray[np.int64], token_budget: int) -> list[list[int]]:
    """Rows of one length each, longest first, within the budget: batches without padding."""
    batches: list[list[int]] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        last = batches[-1] if batches else None
        length = int(lengths[row])
        if last and lengths[last[0]] == length and (len(last) + 1) * length <= token_budget:
            last.append(row)
        else:
            batches.append([row])
    return batches


@contextlib.contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """eval() without gradients; each module's mode and the random state come back as they were."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            # Set directly: train() would recurse and overwrite submodules that were frozen in eval mode.
            for module, training in modes:
                module.training = training
