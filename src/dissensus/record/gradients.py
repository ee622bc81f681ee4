"""The gradient probe: mean gradients of entropy classes, and gradient norms of single examples, while a cell trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dissensus.config import GradientSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError
from dissensus.models.encoding import Encoded
from dissensus.record.processes import ProcessGroup
from dissensus.record.schedule import warn_of_lost_points
from dissensus.record.tracking import undisturbed
from dissensus.seeds import stream_seed
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    load_gradient_norms,
    load_group_gradients,
    save_gradient_norms,
    save_group_gradients,
)

if TYPE_CHECKING:
    from torch import Tensor

    from dissensus.models.scoring import ScoringModel


class GradientProbe:
    """Measures gradients of the gold loss over all trainable weights; its files grow by a point each time.

    A group's mean gradient is that of the mean loss of its examples, whatever the batches: dropout belongs to the
    example. Weights, their gradients, modes and random state are left as they were.

    Args:
        folder: the cell's folder.
        model: what is trained.
        dataset: the tracked examples.
        encoded: the same, as the model reads them.
        classes: the entropy class of each, shape (n,).
        spec: what is measured.
        steps: when, rising; the last one is the run's.
        seed: of the run; dropout follows from it.
        group: the processes of the run, each with the whole model; all call this, and the first one writes.

    Raises:
        DataError: a group has no tracked example.
    """

    def __init__(
        self,
        folder: Path,
        model: ScoringModel,
        dataset: AnnotatedDataset,
        encoded: Encoded,
        classes: NDArray[np.str_],
        spec: GradientSpec,
        *,
        steps: Sequence[int],
        seed: int,
        group: ProcessGroup,
    ) -> None:
        self._folder, self._model, self._dataset, self._encoded = folder, model, dataset, encoded
        self._classes, self._spec, self._seed, self._group = classes, spec, seed, group
        self._rows = {name: np.flatnonzero(classes == name) for name in spec.groups}
        empty = [name for name, rows in self._rows.items() if not len(rows)]
        if empty:
            raise DataError(
                f"tracking.gradients measures {empty[0]} examples, and none is tracked in {dataset.name!r}; leave the "
                "group out, or change the data set's entropy_cuts"
            )
        self._wanted = frozenset(steps)
        self._with_norms = {"all": self._wanted, "end": frozenset([max(steps)]), None: frozenset[int]()}[
            spec.norms
        ]
        self._measured: set[int] = set()
        self._products: dict[int, NDArray[np.float64]] = {}
        self._norms: dict[int, NDArray[np.float64]] = {}

    def rewind(self, step: int) -> None:
        """Resume from what an interrupted run left, without the points later than `step`; -1 forgets all."""
        path, norms_path = self._folder / GRADIENTS, self._folder / GRADIENT_NORMS
        device = self._model.device
        self._products, self._norms = {}, {}
        with self._group.all_or_none(device):
            if self._group.first and step >= 0 and path.exists():
                points = load_group_gradients(path).points()
                self._products = {at: values for at, values in points.items() if at <= step}
                if norms_path.exists():
                    of_examples = load_gradient_norms(norms_path).points()
                    self._norms = {at: values for at, values in of_examples.items() if at in self._products}
            if self._group.first:
                warn_of_lost_points(path, self._wanted, self._products, step)
                warn_of_lost_points(norms_path, self._with_norms, self._norms, step)
        self._measured = set(self._group.broadcast(sorted(self._products), device))

    def step(self, step: int) -> None:
        """Measure if `step` (optimiser steps taken so far) is one of the points, and it was not measured yet."""
        import torch

        if step not in self._wanted or step in self._measured:
            return
        device = self._model.device
        if step in self._with_norms:
            with self._ready(training=False):
                norms = self._own_norms()
            self._norms[step] = np.array([self._group.sum(norm, device) for norm in norms.tolist()])
        with self._ready(training=self._spec.mode == "train"):
            sums = [self._own_sum(rows, step) for rows in self._rows.values()]
        for gradient, rows in zip(sums, self._rows.values(), strict=True):
            for part in gradient:
                if self._group.world_size > 1:
                    whole = self._group.all_reduce(part.cpu().numpy(), device)
                    part.copy_(torch.from_numpy(whole))
                part /= len(rows)
        self._products[step] = _inner_products(sums)
        self._measured.add(step)
        if self._group.first:
            self._save()

    @contextmanager
    def _ready(self, *, training: bool) -> Iterator[None]:
        """The model in this mode, with gradients, in the weights' own precision, called on this process alone."""
        import torch

        model, device = self._model, self._model.device
        entry, model.entry = model.entry, None  # DDP would add gradients up by itself
        try:
            with (
                self._group.all_or_none(device),
                undisturbed(model.module, device),
                torch.enable_grad(),
                torch.autocast(device.type, enabled=False),
            ):
                model.module.train(training)
                yield
        finally:
            model.entry = entry

    def _own_sum(self, rows: NDArray[np.int64], step: int) -> list[Tensor]:
        """The gradient of the summed loss of this process' share of some examples, one tensor per trainable weight."""
        import torch

        # By length, so that little is computed on padding.
        ordered = rows[np.argsort(-self._encoded.lengths[rows], kind="stable")]
        size = self._spec.batch_size
        batches = [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]
        stream = stream_seed(self._seed, "gradients", step)
        torch.manual_seed(stream)  # for whatever draws random numbers without keys
        total = [torch.zeros_like(weight) for weight in _trainable(self._model)]
        for batch in self._group.share(batches):
            for summed, part in zip(total, self._gradient(batch, stream), strict=True):
                if part is not None:
                    summed += part
        return total

    def _own_norms(self) -> NDArray[np.float64]:
        """The norm of each tracked example's gradient in this process' share, 0 for the others, shape (n,)."""
        import torch

        n = len(self._dataset)
        norms = np.zeros(n, dtype=np.float64)
        for row in self._group.share(range(n)):
            parts = [
                torch.linalg.vector_norm(part, dtype=torch.float64)
                for part in self._gradient(np.array([row]), 0)
                if part is not None
            ]
            norms[row] = float(torch.linalg.vector_norm(torch.stack(parts)))
        return norms

    def _gradient(self, rows: NDArray[np.int64], stream: int) -> tuple[Tensor | None, ...]:
        """The gradient of the summed loss of a few examples; None for a weight that it does not depend on."""
        import torch

        scored, logits = self._model.score_rows(self._encoded, rows, stream=stream)
        gold = torch.from_numpy(self._dataset.gold[scored]).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits, gold, reduction="sum")
        return torch.autograd.grad(loss, list(_trainable(self._model)), allow_unused=True)

    def _save(self) -> None:
        """The norms first: a point is there once its mean gradients are."""
        if self._norms:
            at = sorted(self._norms)
            save_gradient_norms(
                self._folder / GRADIENT_NORMS,
                ExampleGradientNorms(
                    self._dataset.ids, self._classes, tuple(at), np.stack([self._norms[step] for step in at])
                ),
            )
        at = sorted(self._products)
        save_group_gradients(
            self._folder / GRADIENTS,
            GroupGradients(
                tuple(self._rows),
                tuple(len(rows) for rows in self._rows.values()),
                tuple(at),
                np.stack([self._products[step] for step in at]),
            ),
        )


def _trainable(model: ScoringModel) -> Iterable[Tensor]:
    return (weight for weight in model.module.parameters() if weight.requires_grad)


def _inner_products(gradients: Sequence[Sequence[Tensor]]) -> NDArray[np.float64]:
    """Of each pair of G gradients, summed in float64, shape (G, G)."""
    products = np.zeros((len(gradients), len(gradients)))
    for parts in zip(*gradients, strict=True):  # weight by weight: only one is wide at a time
        flat = [part.flatten().double() for part in parts]
        for i, first in enumerate(flat):
            for j in range(i + 1):
                products[i, j] += float(first @ flat[j])
    return np.asarray(products + np.tril(products, -1).T, dtype=np.float64)
