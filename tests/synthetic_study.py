"""Studies made of known numbers instead of training: real folders, real stores, no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.config import StudySpec
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.store import CurvesWriter
from dissensus.study.grid import expand

LABELS = ("entailment", "neutral", "contradiction")


def study_spec(**changes: Any) -> StudySpec:
    """A study of two methods on ChaosNLI, held out; `changes` replace top-level keys."""
    base = {
        "name": "made",
        "title": "A made study",
        "models": [{"name": "minilm-l6"}],
        "datasets": [
            {
                "name": "snli",
                "tracked": {"source": "chaosnli"},
                "train": {"source": "snli"},
                "train_size": 1000,
            }
        ],
        "methods": [
            {"name": "lora", "rank": 8, "learning_rate": 1e-3},
            {"name": "full", "learning_rate": 5e-5},
        ],
        "analysis": {"resamples": 100},
    }
    return StudySpec.parse({**base, **changes}, "the made study")


def dataset(n: int, *, annotators: int = 100, text: Callable[[int], str] | None = None) -> AnnotatedDataset:
    """n pairs, four to a premise; votes run from unanimous (first) to widely split (last).

    60% of the annotators leave the first label in the end, every third item's for one other label, the other items' for
    both. Gold is the first label, which in the last sixth of the items is no longer the most frequent.
    """
    examples = []
    for i in range(n):
        other = round(0.6 * annotators * i / max(n - 1, 1))
        third = other // 3 if i % 3 else 0
        words = text(i) if text else f"Somebody does thing {i}."
        examples.append(
            Example(
                id=f"item-{i:05d}",
                text={"premise": f"A scene, the {i // 4}th.", "hypothesis": words},
                gold=0,
                counts=(float(annotators - other), float(other - third), float(third)),
            )
        )
    return AnnotatedDataset("made", LABELS, tuple(examples))


def write_cell(
    folder: Path,
    data: AnnotatedDataset,
    losses: np.ndarray[Any, Any],
    *,
    regime: str = "held_out",
    total_steps: int = 100,
    provenance: dict[str, Any] | None = None,
    covariates: dict[str, np.ndarray[Any, Any]] | None = None,
) -> None:
    """Store curves with gold-label losses `losses`, (n, T), at T evenly spaced points."""
    points = losses.shape[1]
    steps = np.linspace(0, total_steps, points).round().astype(int) if points > 1 else [0]
    n = len(data)
    writer = CurvesWriter(
        folder,
        data,
        total_steps=total_steps,
        regime=regime,
        covariates=covariates
        or {"token_count": np.arange(n) % 7 + 5.0, "lexical_overlap": np.arange(n) % 11 / 11},
        provenance=provenance
        or {"model_fingerprint": "ab" * 32, "versions": {"torch": "2.13", "numpy": "2.0"}},
    )
    for t, step in enumerate(steps):
        p = np.exp(-losses[:, t])
        q = np.maximum((1 - p) * [[0.6], [0.4]], 1e-12)
        with np.errstate(invalid="ignore", divide="ignore"):
            writer.write(int(step), data.ids, np.log(np.stack([p, *q], axis=1)).astype(np.float32))
    writer.finish()


def made_losses(n: int, points: int, seed: int, *, contested_rise: float = 0.6) -> np.ndarray[Any, Any]:
    """Curves whose end rises with the position: the first items fall from 1.1 towards 0.3, the last ones rise."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, n)[:, None]
    u = np.linspace(0, 1, points)[None, :]
    drift = (-0.7 + (0.7 + contested_rise) * place) * u
    wobble = 0.25 * rng.standard_normal((n, 1)) * u + 0.05 * rng.standard_normal((n, points))
    return np.maximum(1.1 + drift + wobble, 0.01)


def write_study(
    root: Path,
    study: StudySpec,
    *,
    n: int = 60,
    points: int = 6,
    data: AnnotatedDataset | None = None,
    losses: Callable[[int, int, int], np.ndarray[Any, Any]] = made_losses,
    failed: Sequence[int] = (),
    **options: Any,
) -> list[str]:
    """A whole study's folder; cells whose position is in `failed` have failed. Returns the cells' ids."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    names = []
    for number, spec in enumerate(expand(study)):
        folder = root / "cells" / spec.cell_id
        folder.mkdir(parents=True)
        text = json.dumps(spec.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
        (folder / "spec.json").write_text(text, encoding="utf-8")
        status: dict[str, Any] = {"state": "done"}
        if number in failed:
            trace = "Traceback (most recent call last):\n  File ...\nModelError: no weights for this model\n"
            status = {"state": "failed", "traceback": trace}
        else:
            own = data or dataset(n)
            write_cell(folder, own, losses(len(own), points, number), regime=spec.regime, **options)
        (folder / "status.json").write_text(json.dumps(status), encoding="utf-8")
        names.append(spec.cell_id)
    return names
