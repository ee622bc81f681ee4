"""Packing of the items into JSON for the page: numbers as base64 of small integers, texts once each.

    [dtype, base64]   little-endian u1, u2, u4 or f8; the highest value of u1, u2 and u4 stands for "none"
    strings           every text once; elsewhere a place in this list
    losses            u1 on a square-root scale: loss = top * (value / 254)^2, so that small losses keep their digits
    numbers           u2 between low and high: low + (high - low) * value / 65534

No `<`, `>` or `&` stands in the JSON, nor U+2028 and U+2029: whatever a text holds, it cannot end the element it is in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from dissensus.report.items.collected import NO_GROUP, ConditionItems, DatasetItems
from dissensus.report.items.kinds import KIND_ORDER, Kind
from dissensus.report.tables import GROUPS

TEXT_BYTES = 7 * 2**19
"""Bytes of text that the items of a page take, at most: longer texts are cut until they fit."""
CUTS = (20_000, 8_000, 4_000, 2_000, 1_200, 800, 600, 420, 300, 200, 120)
"""Characters that a text field keeps: the first of these at which all fit."""
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}

FloatArray = NDArray[np.float64]


class _Strings:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def at(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))


def text_cut(datasets: Sequence[DatasetItems]) -> int:
    """Characters that each text field keeps, so that all texts fit into `TEXT_BYTES`."""
    texts = {value for one in datasets for fields in one.text for value in (fields or {}).values()}
    sizes = np.array([len(text.encode()) for text in texts], dtype=np.int64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    for cut in CUTS:
        share = np.minimum(1.0, cut / np.maximum(lengths, 1))
        if float((sizes * share).sum()) <= TEXT_BYTES:
            return cut
    return CUTS[-1]


def packed(datasets: Sequence[DatasetItems], kinds: Sequence[Kind]) -> Markup:
    """All items as JSON, fit to stand inside a script element."""
    strings, cut = _Strings(), text_cut(datasets)
    data = {
        "groups": list(GROUPS),
        "kinds": [{"key": kind.key, "title": kind.title, "step": kind.step} for kind in kinds],
        "cut": cut,
        "datasets": [_dataset(one, strings, cut) for one in datasets],
    }
    data["strings"] = list(strings.places)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(ESCAPES))  # noqa: S704 - nothing in it can end its element


def _dataset(items: DatasetItems, strings: _Strings, cut: int) -> dict[str, Any]:
    fields = list(dict.fromkeys(name for text in items.text for name in text or ()))
    return {
        "name": items.name,
        "labels": list(items.labels),
        "shown": list(items.shown),
        "ids": list(items.ids),
        "fields": fields,
        "texts": [
            _small(
                [-1 if not t or name not in t else strings.at(_cut(t[name], cut)) for t in items.text], "u4"
            )
            for name in fields
        ],
        "gold": _small(items.gold, "u2"),
        "votes": _votes(items.counts),
        "entropy": _floats(items.entropy),
        "group": _small(np.where(items.group == NO_GROUP, -1, items.group), "u1"),
        "kinds": {
            regime: {
                "kind": _small([KIND_ORDER.index(kind) if kind else -1 for kind in told.kind], "u1"),
                "score": _small(_scaled(told.score, 0.0, 1.0, 254), "u1"),
                "label": _small([strings.at(label) if label else -1 for label in told.label], "u4"),
                "why": _small([strings.at(why) if why else -1 for why in told.why], "u4"),
            }
            for regime, told in items.kinds.items()
        },
        "conditions": [_condition(one) for one in items.conditions],
    }


def _condition(one: ConditionItems) -> dict[str, Any]:
    finite = one.losses[np.isfinite(one.losses)]
    top = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(np.clip(one.losses, 0.0, top) / top)
    return {
        "name": one.row.method_words,
        "family": one.row.family,
        "regime": one.row.regime,
        "settings": one.settings,
        "seeds": one.row.seeds,
        "learned": one.row.learned,
        "why": one.row.learned_why,
        "anchor": one.row.anchor,
        "progress": [round(float(u), 6) for u in one.progress],
        "top": top,
        "losses": _small(_scaled(roots, 0.0, 1.0, 254), "u1"),
        "unlearned": _small(_scaled(one.unlearned, 0.0, 1.0, 254), "u1"),
        "numbers": {name: _between(values) for name, values in one.numbers.items()},
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters)"


def _votes(counts: FloatArray) -> list[str]:
    whole = counts.size == 0 or bool(np.all(counts == np.round(counts)))
    if not whole:
        return _floats(counts)
    return _small(counts, "u1" if counts.size == 0 or counts.max() < 255 else "u4")


def _between(values: FloatArray) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return {"low": low, "high": high, "values": _small(_scaled(values, low, high, 65534), "u2")}


def _scaled(values: FloatArray, low: float, high: float, top: int) -> NDArray[np.int64]:
    """Values between low and high as whole numbers from 0 to top; -1 for NaN."""
    known = np.isfinite(values)
    share = (np.where(known, values, low) - low) / ((high - low) or 1.0)
    return np.where(known, np.round(np.clip(share, 0.0, 1.0) * top), -1).astype(np.int64)


def _small(values: ArrayLike, kind: str) -> list[str]:
    """Whole numbers as base64; -1, for "none", is the type's highest value."""
    wanted = np.asarray(values, dtype=np.int64)
    highest = int(np.iinfo(f"<{kind}").max)
    return [kind, _base64(np.where(wanted < 0, highest, wanted).astype(f"<{kind}"))]


def _floats(values: FloatArray) -> list[str]:
    return ["f8", _base64(values.astype("<f8"))]


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
