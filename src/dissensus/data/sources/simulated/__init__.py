"""The embedded data: premise/hypothesis pairs written by a grammar and labelled by simulated annotators.

Disagreement comes from vague words whose cut differs between people, so the true label distribution of every item is
known. docs/design/simulated-panel.md gives the model, its mathematics and what it is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.sources.base import Source
from dissensus.data.sources.simulated.grammar import DRAWS, TRAITS, Pair
from dissensus.data.sources.simulated.panel import (
    LABELS,
    Judgements,
    Panel,
    ambiguity,
    answers,
    draw_panel,
    population,
)
from dissensus.data.sources.simulated.recipes import write_pair
from dissensus.errors import DataError

CAPACITY = 200_000
"""Largest size of one split. The grammar can write more, but repeats itself ever more often from there on."""

NAMED_UP_TO = 20
"""Panels of at most this many annotators keep who said what; larger ones keep counts alone."""

_BLOCK = 512  # pairs drawn together; part of what a seed means, like the spawn keys
_SPLITS = ("tracked", "train")
_TEXT_KEY, _ANSWER_KEY = 1, 2


class SimulatedSource(SourceSpec):
    """The embedded panel: NLI-like pairs from a grammar, labelled by simulated annotators (see the docs)."""

    source: Literal["simulated"] = "simulated"
    size: int = Field(1000, ge=1, description="Number of examples.")
    split: Literal["tracked", "train"] = Field("tracked", description="Two disjoint streams of one seed.")
    seed: int = Field(0, ge=0)
    annotators: int = Field(100, ge=1, description="Labels per item.")
    mislabelled: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of items whose gold label is wrong on purpose."
    )

    def in_words(self) -> str:
        """How a report names the data."""
        return "the simulated panel"

    def gold_from(self) -> str:
        """The panel's majority, apart from labels that are wrong on purpose."""
        return "simulated"

    def known_size(self) -> int | None:
        """As many as were asked for."""
        return self.size


def load(spec: SimulatedSource, *, data_dir: Path | None = None) -> AnnotatedDataset:  # noqa: ARG001 - no file is read
    """Write and label the pairs that a specification asks for.

    The first n examples do not depend on the size; the texts do not depend on the panel; annotator k answers the same
    in every panel that k sits on. No text repeats, and no premise of the tracked split of any seed is in the train
    split of any seed. Labels: entailment, neutral, contradiction.

    The gold label is the panel's majority; a tie goes to the label that the whole population prefers. Where
    `extra["mislabelled"]` is true it is one of the two other labels. `extra` also holds `correct` (the gold label
    before that), `phenomenon`, `p_<label>` (probability that a new annotator of the population gives the label) and
    `ambiguity` (the entropy of those, in bits).

    Raises:
        DataError: `size` is above the grammar's `CAPACITY`.
    """
    if spec.size > CAPACITY:
        raise DataError(
            f"a simulated {spec.split} split of size {spec.size} was asked for; the grammar writes at most {CAPACITY} "
            "different pairs a split. Ask for fewer, or load several seeds"
        )
    panel = draw_panel(spec.seed, spec.annotators, TRAITS)
    examples: list[Example] = []
    for number, pairs in enumerate(_blocks(spec.seed, spec.split)):
        examples += _labelled(pairs, panel, spec, number, len(examples))
        if len(examples) >= spec.size:
            break
    examples_kept = tuple(examples[: spec.size])
    notes = [f"simulated panel, seed {spec.seed}; the true label distribution of each item is in `extra`"]
    if spec.mislabelled > 0:
        wrong = sum(bool(example.extra["mislabelled"]) for example in examples_kept)
        notes.append(f"{wrong} of {len(examples_kept)} gold labels are wrong on purpose")
    return AnnotatedDataset(f"simulated-{spec.split}", LABELS, examples_kept, tuple(notes))


def _blocks(seed: int, split: str) -> Iterator[list[Pair]]:
    """Endless blocks of new pairs whose premises belong to the split."""
    seen: set[tuple[str, str]] = set()
    number = 0
    while True:
        rng = _generator(seed, split, _TEXT_KEY, number)
        new = []
        for row in rng.random((_BLOCK, DRAWS)).tolist():
            pair = write_pair(row)
            key = (pair.premise, pair.hypothesis)
            if _split_of(pair.premise) == split and key not in seen:
                seen.add(key)
                new.append(pair)
        yield new
        number += 1


def _split_of(premise: str) -> str:
    """The split that a premise belongs to, in every seed."""
    return _SPLITS[hashlib.blake2b(premise.encode(), digest_size=1).digest()[0] & 1]


def _generator(seed: int, split: str, purpose: int, block: int) -> np.random.Generator:
    key = (purpose, _SPLITS.index(split), block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _labelled(
    pairs: list[Pair], panel: Panel, spec: SimulatedSource, block: int, first: int
) -> list[Example]:
    """Examples from one block's pairs, numbered from `first`."""
    if not pairs:
        return []
    items = Judgements(
        trait=np.array([p.trait for p in pairs]),
        evidence=np.array([p.evidence for p in pairs]),
        band=np.array([p.band for p in pairs]),
        denied=np.array([p.denied for p in pairs]),
    )
    truth = population(items)
    rng = _generator(spec.seed, spec.split, _ANSWER_KEY, block)
    wrong, other = rng.random((2, len(pairs)))  # before the answers: their number varies with the panel
    votes = answers(panel, items, rng)
    counts = np.stack([(votes == k).sum(axis=0) for k in range(len(LABELS))], axis=1)
    # the truth's probabilities are below 1, so they decide ties and nothing else
    correct = np.argmax(counts + truth / 2, axis=1)
    mislabelled = wrong < spec.mislabelled
    gold = np.where(mislabelled, (correct + 1 + (other < 0.5)) % len(LABELS), correct)
    named = [()] * len(pairs) if len(panel.slip) > NAMED_UP_TO else _named(panel.names, votes.T.tolist())
    return [
        Example(
            id=f"{spec.split}-{spec.seed}-{first + i:06d}",
            text={"premise": pair.premise, "hypothesis": pair.hypothesis},
            gold=label,
            counts=tuple(map(float, row)),
            annotations=answers_of_item,
            extra={
                "phenomenon": pair.phenomenon,
                "ambiguity": bits,
                "mislabelled": flipped,
                "correct": LABELS[right],
                **{f"p_{name}": p for name, p in zip(LABELS, shares, strict=True)},
            },
        )
        for i, (pair, label, row, answers_of_item, bits, flipped, right, shares) in enumerate(
            zip(
                pairs,
                gold.tolist(),
                counts.tolist(),
                named,
                ambiguity(truth).tolist(),
                mislabelled.tolist(),
                correct.tolist(),
                truth.tolist(),
                strict=True,
            )
        )
    ]


def _named(names: tuple[str, ...], rows: list[list[int]]) -> list[tuple[tuple[str, int], ...]]:
    return [tuple(zip(names, row, strict=True)) for row in rows]


SOURCE = Source(SimulatedSource, load)
