"""Overview: the first screen of the page. What was trained on what, did it learn, which items ask for a step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dissensus.config import RunSpec
from dissensus.report.beside import AcrossView
from dissensus.report.items.kinds import Kind
from dissensus.report.items.page_items import PageItems
from dissensus.report.tables import REGIMES, ConditionRow, GroupCell, method_words, percent
from dissensus.wording import file_tail

TILES = (
    ("mislabelled", "{n} label{s} to look at again", "No label stands out as wrong"),
    ("contested", "{n} ambiguous: keep their votes", "No item stands out as ambiguous"),
    ("hard", "{n} hard but agreed", "No item is hard but agreed"),
)
"""Kind -> what its tile says of so many items, and of none."""
NOTHING_TOLD = "Which items are mislabelled, ambiguous or hard cannot be told from these curves."
ALL_LEARNED = {1: "It learned.", 2: "It learned in both conditions."}
NAMED = 2
"""Conditions that did not learn and are named one by one; models and data sets likewise."""


@dataclass(frozen=True)
class Tile:
    """A number of items and the step they suggest.

    Attributes:
        kind: key of the kind.
        count: items.
        words: the tile's sentence, the count taken out of its beginning.
        step: what to do with them, for a tooltip.
    """

    kind: str
    count: int
    words: str
    step: str


@dataclass(frozen=True)
class Overview:
    """The first screen.

    Attributes:
        trained: what was trained on what.
        learned: 'yes', 'partly', 'no' or 'not told'.
        learned_words: the same in a sentence.
        tiles: none where triage says nothing.
        silence: why there are none; '' where there are.
        verdicts: of the claims, in words; '' without claims.
        figure: mean loss of contested and settled items of one condition.
        figure_title: of which condition.
        contested: change of the contested group's mean loss, in words; '' where it is not known.
        settled: the same of the settled group.
    """

    trained: str
    learned: str
    learned_words: str
    tiles: tuple[Tile, ...]
    silence: str
    verdicts: str
    figure: Markup
    figure_title: str
    contested: str
    settled: str


def overview(
    trained: str,
    rows: Sequence[ConditionRow],
    items: PageItems,
    *,
    figure: Markup,
    verdicts: str,
) -> Overview:
    """The first screen of these conditions.

    Args:
        trained: what was trained on what.
        rows: the conditions.
        items: with what triage says of them.
        figure: of the most telling condition.
        verdicts: of the claims; '' without.
    """
    telling = most_telling(rows)
    known = telling.contested.delta.defined and telling.settled.delta.defined
    learned, words = learned_words(rows, telling)
    shown = tiles(items.kinds)
    return Overview(
        trained=trained,
        learned=learned,
        learned_words=words,
        tiles=shown,
        silence="" if shown else (items.silence or NOTHING_TOLD),
        verdicts=verdicts,
        figure=figure,
        figure_title=telling.title,
        contested=_change(telling.contested) if known else "",
        settled=_change(telling.settled) if known else "",
    )


def most_telling(rows: Sequence[ConditionRow]) -> ConditionRow:
    """The condition in which the contested and the settled group part most; of those that learned, if any did."""
    learned = [row for row in rows if row.learned != "no"] or list(rows)

    def parting(row: ConditionRow) -> tuple[bool, float]:
        value = row.difference.value
        return row.difference.side != 0, abs(value) if math.isfinite(value) else -1.0

    return max(learned, key=parting)


def trained_words(cells: Sequence[RunSpec], items: int) -> str:
    """'minilm-l6 was fine-tuned on SNLI pairs by IA3; the loss of 1,514 items of chaosnli, held out, was tracked.'"""
    models = dict.fromkeys(file_tail(cell.model.name) for cell in cells)
    trains = (cell.dataset.train for cell in cells)
    pools = dict.fromkeys(train.in_words().partition(" (")[0] for train in trains if train is not None)
    datasets = dict.fromkeys(cell.dataset.name for cell in cells)
    regimes = [REGIMES.get(regime, regime) for regime in dict.fromkeys(cell.regime for cell in cells)]
    on = f" on {_listed(pools, 'data sets')}" if pools else ""
    return (
        f"{_listed(models, 'models')} {'was' if len(models) == 1 else 'were'} fine-tuned{on} by {_methods(cells)}; "
        f"the loss of {items:,} items of {_listed(datasets, 'data sets')}, {' or '.join(regimes)}, was tracked."
    )


def learned_words(rows: Sequence[ConditionRow], telling: ConditionRow) -> tuple[str, str]:
    """The mark and the sentence that say whether the model learned."""
    states = Counter(row.learned or "not told" for row in rows)
    total = len(rows)
    how = f" In {telling.title} it is right on {percent(telling.accuracy)} of the items at the end."
    how = how if math.isfinite(telling.accuracy) else ""
    if states["no"] == total:
        return "no", "It did not learn: read no single curve." if total == 1 else (
            f"None of the {total} conditions learned: read no single curve."
        )
    if states["not told"] == total:
        why = f" ({telling.learned_why})" if telling.learned_why else ""
        return "not told", f"Whether it learned cannot be told{why}."
    if states["yes"] == total:
        return "yes", ALL_LEARNED.get(total, f"It learned in all {total} conditions.") + how
    not_yes = [row.title for row in rows if row.learned != "yes"]
    shown = f": not, or not surely, in {'; '.join(not_yes)}" if len(not_yes) <= NAMED else ""
    return "partly", f"It learned in {states['yes']} of {total} conditions{shown}."


def tiles(kinds: Sequence[Kind]) -> tuple[Tile, ...]:
    """The three tiles; none where triage tells no item apart."""
    by_key = {kind.key: kind for kind in kinds}
    if not any(kind.items for kind in kinds if kind.key != "not told"):
        return ()
    made = []
    for key, some, none in TILES:
        kind = by_key[key]
        words = some.format(n="", s="" if kind.items == 1 else "s").strip() if kind.items else none
        made.append(Tile(key, kind.items, words, kind.step))
    return tuple(made)


def verdict_words(across: AcrossView | None) -> str:
    """'Claims: 2 supported, 1 contradicted, 3 inconclusive'; '' without claims."""
    if across is None:
        return ""
    counts = Counter(view.claim.verdict for view in across.claims)
    return "Claims: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items())


def _change(group: GroupCell) -> str:
    return ("+" if group.delta.value > 0 else "") + group.delta.text


def _methods(cells: Sequence[RunSpec]) -> str:
    labels = list(dict.fromkeys(cell.method.label for cell in cells))
    ranks = [label.removeprefix("lora-r") for label in labels if label.startswith("lora-r")]
    words = [method_words(label) for label in labels if not label.startswith("lora-r")]
    if len(ranks) == 1:
        words.insert(0, f"LoRA (rank {ranks[0]})")
    elif ranks:
        words.insert(0, f"LoRA (ranks {', '.join(ranks)})")
    return _joined(words)


def _listed(names: dict[str, None], noun: str) -> str:
    return _joined(list(names)) if len(names) <= NAMED else f"{len(names)} {noun}"


def _joined(words: Sequence[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
