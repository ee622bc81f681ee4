"""Learning curves in memory: what training leaves and analysis reads. Their store is `store/`. Imports no torch."""

from __future__ import annotations

import difflib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD
from dissensus.display import cut, html_grid, html_table, one_line
from dissensus.errors import DataError, StoreError
from dissensus.wording import number

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

FloatArray = NDArray[np.float64]

MANY = 20_000
"""Ids among which near ones are looked for at most; more would take seconds."""


class CurveSource(Protocol):
    """Curves that may be too many for memory, read a block of examples at a time; `open_curves` gives one."""

    @property
    def steps(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def total_steps(self) -> int: ...  # noqa: D102
    @property
    def progress(self) -> FloatArray: ...  # noqa: D102
    def __len__(self) -> int: ...
    def read(self, begin: int, end: int) -> Curves:
        """The curves of the examples from place `begin` to before `end`; called in several threads."""


@dataclass(frozen=True, repr=False, eq=False)
class ExampleCurve:
    """One example's curve and what is known of it: what `curves["its id"]` gives.

    Attributes:
        id: of the example.
        text: field name -> text; empty where no text is stored.
        labels: label names, length K.
        gold: name of the gold label; None where there is none.
        votes: label -> annotators who chose it.
        regime: 'held_out' or 'trained_on'.
        steps: optimiser steps of the tracking points, shape (T,).
        progress: the same in [0, 1], shape (T,).
        losses: loss on the gold label, nats, shape (T,); NaN without a gold label.
        log_probs: natural-log probabilities of the labels, shape (T, K); NaN for a label that was not scored.
    """

    id: str
    text: Mapping[str, str]
    labels: tuple[str, ...]
    gold: str | None
    votes: Mapping[str, float]
    regime: str
    steps: NDArray[np.int64]
    progress: FloatArray
    losses: FloatArray
    log_probs: NDArray[np.float32]

    @property
    def votes_words(self) -> str:
        """'45 neutral, 55 entailment', or 'no annotations'."""
        chosen = {label: count for label, count in self.votes.items() if count}
        return ", ".join(f"{count:g} {label}" for label, count in chosen.items()) or "no annotations"

    def __repr__(self) -> str:
        ends = " to ".join(number(loss) for loss in self.losses[[0, -1]]) if len(self.losses) else "none"
        fields = (
            ("gold", self.gold),
            ("votes", self.votes_words),
            ("regime", self.regime),
            ("loss", f"{ends} nats"),
        )
        return one_line("ExampleCurve", (("id", self.id), *fields))

    def _repr_html_(self) -> str:
        facts = (("gold", self.gold or "none"), ("votes", self.votes_words), ("regime", self.regime))
        about = html_table(self.id, ((name, cut(text, 300)) for name, text in (*self.text.items(), *facts)))
        rows = (
            (str(step), number(loss), *(number(share, 3) for share in shares))
            for step, loss, shares in zip(
                self.steps.tolist(), self.losses.tolist(), np.exp(self.log_probs).tolist(), strict=True
            )
        )
        columns = ("step", "gold-label loss (nats)", *(f"p({label})" for label in self.labels))
        return about + html_grid("", columns, rows)


@dataclass(frozen=True, repr=False)
class Curves:
    """Log-probabilities of n tracked examples over K labels at T tracking points.

    Attributes:
        ids: example ids, length n.
        labels: label names, length K.
        steps: optimiser steps of the tracking points, shape (T,), rising; 0 is before training.
        total_steps: steps of the whole run; progress u = step / total_steps.
        log_probs: natural-log probabilities, float32, shape (n, T, K); NaN for a label that was not scored.
        gold: label indices, shape (n,); -1 where there is none.
        counts: annotators per label, shape (n, K).
        regime: 'held_out' or 'trained_on' for each example, shape (n,).
        covariates: name -> array of shape (n,).
        text: the text fields of each example, length n (may be empty mappings).
        provenance: what the manifest says of the run.
        values: what else was measured of each example: name -> float32 array of shape (n, T). Of preference pairs
            the log-probabilities of both answers, for one; which names there are depends on the probe.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    steps: NDArray[np.int64]
    total_steps: int
    log_probs: NDArray[np.float32]
    gold: NDArray[np.int64]
    counts: FloatArray
    regime: NDArray[np.str_]
    covariates: Mapping[str, FloatArray] = field(default_factory=dict)
    text: tuple[Mapping[str, str], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, t, k = len(self.ids), len(self.steps), len(self.labels)
        expected = {
            "log_probs": (self.log_probs.shape, (n, t, k)),
            "gold": (self.gold.shape, (n,)),
            "counts": (self.counts.shape, (n, k)),
            "regime": (self.regime.shape, (n,)),
            **{f"covariate {c!r}": (v.shape, (n,)) for c, v in self.covariates.items()},
            **{f"value {name!r}": (v.shape, (n, t)) for name, v in self.values.items()},
        }
        for name, (shape, wanted) in expected.items():
            if shape != wanted:
                raise StoreError(f"{name} has shape {shape}; expected {wanted} (n={n}, T={t}, K={k})")
        if len(set(self.ids)) < n:
            raise StoreError("curves hold an example id twice; ids must be unique")
        if t and (np.any(np.diff(self.steps) <= 0) or self.steps[0] < 0 or self.steps[-1] > self.total_steps):
            raise StoreError(f"steps must rise within 0 to {self.total_steps}; given: {self.steps.tolist()}")

    def __len__(self) -> int:
        return len(self.ids)

    def report(self, path: str | os.PathLike[str], *, quotes: int | Literal["all"] = "all") -> Path:
        """Write one HTML page of these curves that needs nothing else, and return its path: docs/page.md.

        Args:
            path: of the page.
            quotes: examples whose text the page holds, at most.
        """
        save_page = pkgutil.resolve_name("dissensus.report.recording:save_page")  # it stands above: by name
        return cast("Path", save_page(self, path, quotes=quotes))

    def __contains__(self, example_id: object) -> bool:
        return isinstance(example_id, str) and example_id in self._places

    def __iter__(self) -> Iterator[ExampleCurve]:
        return map(self._example, range(len(self)))

    def __getitem__(self, example_id: str) -> ExampleCurve:
        if example_id in self:
            return self._example(self._places[example_id])
        if not isinstance(example_id, str):
            raise DataError(
                f"curves[{example_id!r}]: expected an example's id, a text such as "
                f"{cut(repr(self.ids[0])) if self.ids else 'nothing (there are no examples)'}; "
                "places are read by curves.read(begin, end), a selection by curves.subset(mask)"
            )
        near = difflib.get_close_matches(example_id, self.ids[:MANY], n=3, cutoff=0.5) or self.ids[:3]
        listed = ", ".join(repr(cut(one)) for one in near) or "none"
        raise DataError(
            f"no example has the id {cut(example_id)!r}; the nearest of {len(self)} ids: {listed}"
        )

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {example_id: place for place, example_id in enumerate(self.ids)}

    def _example(self, place: int) -> ExampleCurve:
        one = self.read(place, place + 1)
        gold = int(self.gold[place])
        return ExampleCurve(
            id=self.ids[place],
            text=self.text[place] if self.text else {},
            labels=self.labels,
            gold=None if gold == NO_GOLD else self.labels[gold],
            votes=dict(zip(self.labels, self.counts[place].tolist(), strict=True)),
            regime=str(self.regime[place]),
            steps=self.steps,
            progress=self.progress,
            losses=one.losses[0],
            log_probs=one.log_probs[0],
        )

    def __repr__(self) -> str:
        return f"Curves({'; '.join(words for _, words in self._summary())})"

    def _repr_html_(self) -> str:
        further = (
            ("covariates", ", ".join(self.covariates)),
            ("text fields", ", ".join(self.text[0]) if self.text else ""),
            ("further values", ", ".join(self.values)),
        )
        return html_table(
            "Curves", (*self._summary(), *((n, cut(words, 300)) for n, words in further if words))
        )

    def _summary(self) -> tuple[tuple[str, str], ...]:
        """(name, words) of what is shown of them, from the first and the last point alone."""
        points = len(self.steps)
        steps = f" (steps {self.steps[0]} to {self.steps[-1]} of {self.total_steps})" if points else ""
        regimes = ", ".join(sorted(set(self.regime.tolist()))) or "none"
        annotated = int((self.counts.sum(axis=1) > 0).sum())
        ends = [_known_mean(self.read_points([at]).losses) for at in (0, -1)] if points and len(self) else []
        return (
            ("examples", f"{len(self)} examples x {points} tracking points{steps}"),
            ("labels", cut(f"{len(self.labels)} labels: {', '.join(self.labels)}", 120)),
            ("regime", regimes),
            ("annotations", f"annotators' labels on {annotated}"),
            ("mean loss", f"mean gold-label loss {' to '.join(map(number, ends)) or 'undefined'} nats"),
        )

    def to_pandas(self, *, text: bool = False, noise_floor: float = 0.1) -> pandas.DataFrame:
        """One row per example: gold, votes, entropy, metrics, covariates, with `text` its text fields, too.

        `dissensus.exchange.to_pandas` says what the columns are; it needs pandas (the extra `exchange`).
        """
        to_pandas = pkgutil.resolve_name("dissensus.exchange.frames:to_pandas")  # it stands above: by name
        return cast("pandas.DataFrame", to_pandas(self, text=text, noise_floor=noise_floor))

    def on(self, gold: NDArray[np.int64]) -> Curves:
        """The same with other gold labels, shape (n,)."""
        return replace(self, gold=gold)

    def triage(self) -> tuple[Any, ...]:
        """Which examples are mislabelled, contested, hard or forgotten: a `dissensus.analysis.triage.Triaged` each."""
        triage_curves = pkgutil.resolve_name(
            "dissensus.analysis.triage:triage_curves"
        )  # it stands above: by name
        return cast(tuple[Any, ...], triage_curves(self))

    def read(self, begin: int, end: int) -> Curves:
        """The examples from place `begin` to before `end`; their arrays are views of these."""
        rows = slice(begin, end)
        return replace(
            self,
            ids=self.ids[rows],
            log_probs=self.log_probs[rows],
            gold=self.gold[rows],
            counts=self.counts[rows],
            regime=self.regime[rows],
            covariates={name: column[rows] for name, column in self.covariates.items()},
            text=self.text[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )

    def read_points(self, points: list[int]) -> Curves:
        """The curves at some tracking points alone, named by place (-1: the last)."""
        return replace(
            self,
            steps=self.steps[points],
            log_probs=self.log_probs[:, points],
            values={name: values[:, points] for name, values in self.values.items()},
        )

    @property
    def progress(self) -> FloatArray:
        """u = step / total steps, in [0, 1], shape (T,)."""
        return self.steps / max(self.total_steps, 1)

    @cached_property
    def losses(self) -> FloatArray:
        """Loss on the gold label in nats, shape (n, T); NaN where there is no gold label."""
        return self.losses_on(self.gold)

    def losses_on(self, labels: NDArray[np.int64]) -> FloatArray:
        """-log p(label) in nats for one label index an example (shape (n,)), shape (n, T); NaN for -1."""
        picked = np.take_along_axis(self.log_probs, np.maximum(labels, 0)[:, None, None], axis=2)[:, :, 0]
        losses = -picked.astype(np.float64)
        losses[labels == NO_GOLD] = np.nan
        return losses

    @cached_property
    def soft_losses(self) -> FloatArray:
        """Cross-entropy against the annotators' distribution in nats, shape (n, T); NaN without annotations."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = self.counts / totals
            # 0 x -inf is 0 here: a label that nobody chose does not count, however improbable the model finds it.
            weighted = np.where(shares[:, None, :] == 0, 0.0, shares[:, None, :] * self.log_probs)
        return np.asarray(-weighted.sum(axis=2), dtype=np.float64)

    def per_token(self) -> Curves:
        """The same with log-probabilities, and so losses, divided by the number of tokens of the gold completion.

        Other labels' completions have lengths of their own, which are not kept: theirs become NaN.

        Raises `StoreError` where no completions were recorded (there is no covariate `completion_tokens`).
        """
        tokens = self.covariates.get("completion_tokens")
        if tokens is None:
            raise StoreError(
                "these curves have no covariate 'completion_tokens': losses a token are those of recorded completions; "
                f"the covariates here are: {', '.join(self.covariates) or 'none'}"
            )
        is_gold = np.arange(len(self.labels)) == self.gold[:, None]
        log_probs = np.where(is_gold[:, None, :], self.log_probs / tokens[:, None, None], np.nan)
        return replace(self, log_probs=log_probs.astype(np.float32))

    def subset(self, keep: NDArray[np.bool_]) -> Curves:
        """The examples where `keep`, shape (n,), is true."""
        index = np.flatnonzero(keep)
        return Curves(
            ids=tuple(self.ids[i] for i in index),
            labels=self.labels,
            steps=self.steps,
            total_steps=self.total_steps,
            log_probs=self.log_probs[index],
            gold=self.gold[index],
            counts=self.counts[index],
            regime=self.regime[index],
            covariates={c: v[index] for c, v in self.covariates.items()},
            text=tuple(self.text[i] for i in index) if self.text else (),
            provenance=self.provenance,
            values={name: v[index] for name, v in self.values.items()},
        )


def _known_mean(values: FloatArray) -> float:
    """Mean of the finite ones; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
