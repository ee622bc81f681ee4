"""Tables of the paper that compare conditions: 1 to 3, label noise, IA3, decoders, entropy buckets, soft labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from dissensus.analysis.paper.cells import ALL, FLIPPED, ITEMS, UNFLIPPED, PaperCell
from dissensus.analysis.paper.columns import (
    ACCURACY,
    ACCURACY_WHY,
    CHANGES,
    NOT_PLANNED,
    RHO,
    SEEDS,
    Column,
    change_bounds,
    grid,
    known_rho,
    largest,
    mean,
    single,
)
from dissensus.analysis.paper.conditions import Condition, PaperReading
from dissensus.analysis.paper.definitions import (
    DECODERS,
    GPT2_FAILED,
    KNOWN,
    METHODS,
    MODELS,
    NO_BULK,
    RANGE,
    RANKS,
    SEED,
)
from dissensus.analysis.paper.layout import EMPTY, Entry, PaperTable, TableRow, number_entry
from dissensus.config import RunSpec
from dissensus.stats.comparisons import PairedDifference, paired_difference
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.over_seeds import rank_trend
from dissensus.wording import interval_end

NO_FIGURE = "Paper: no figure known."


def table_1(reading: PaperReading) -> PaperTable:
    """Rho of H and AULC, a row per model and method, a column per data set."""
    by_place = {condition.labels: condition for condition in reading.planned}
    data = list(dict.fromkeys(("SNLI", "MNLI", *(c.data for c in reading.own))))
    rows = []
    for model, method in _places(reading):
        conditions = [by_place.get((model, method, name)) for name in data]
        entries = [NOT_PLANNED if c is None else RHO(c) for c in conditions]
        first = next((c for c in conditions if c is not None), None)
        accuracy = NOT_PLANNED if first is None else ACCURACY(first)
        known = Entry(words=KNOWN.get((model, method, "SNLI"), "no figure known"))
        rows.append(TableRow((model, method), (*entries, accuracy, known)))
    absent = [m for m in MODELS.values() if m != "GPT-2" and all(row.labels[0] != m for row in rows)]
    values = [rho.value for row in rows for rho in row.entries[: len(data)] if not rho.missing]
    ends = (
        f" Ours: from {interval_end(min(values))} to {interval_end(max(values))} over {len(values)}."
        if values
        else ""
    )
    notes = [RANGE + ends, NO_BULK]
    notes += [f"The paper's models that these studies do not plan: {', '.join(absent)}."] if absent else []
    without = [c for c in reading.planned if c not in reading.own]
    if without:
        models = ", ".join(dict.fromkeys(c.model for c in without))
        notes.append(f"Without a row below, for no seed is finished: {len(without)} conditions of {models}.")
    return PaperTable(
        "1",
        "Annotation entropy and AULC",
        "Spearman's rho of H and AULC over all tracked items; mean ± sample sd over seeds; (1 of 3): finished seeds of "
        "those planned. Accuracy: on the validation set after the last epoch, of SNLI or else the first data column.",
        ("model", "method"),
        (*(f"rho, {name}" for name in data), "validation accuracy", "paper, SNLI"),
        tuple(rows),
        tuple(notes),
    )


def _places(reading: PaperReading) -> Iterator[tuple[str, str]]:
    """Model and method of each row: of the paper's models that are planned, the paper's methods too."""
    planned = list(dict.fromkeys((c.model, c.method) for c in reading.own))
    for model in dict.fromkeys(model for model, _ in planned):
        known = METHODS[:2] if model in DECODERS else METHODS if model in MODELS.values() else ()
        ours = [method for name, method in planned if name == model]
        yield from ((model, method) for method in dict.fromkeys((*known, *ours)))


def table_2(reading: PaperReading) -> PaperTable:
    """Un-learning: mean change of loss of contested and settled items."""
    columns: Mapping[str, Column] = {
        "contested": CHANGES["change, contested"],
        "contested, our interval": change_bounds(CONTESTED),
        "settled": CHANGES["change, settled"],
        "settled, our interval": change_bounds(SETTLED),
    }
    return grid(
        "2",
        "Un-learning",
        "Mean over a group's items of the last minus the first recorded loss, nats; mean ± sample sd over seeds. Above "
        "0 is un-learned. The paper calls settled items clean. Interval: ours, over clusters of items, each item's "
        "change averaged over seeds first. The start is the untrained head: above 0 is worse than chance at the end.",
        reading.own,
        lambda _: columns,
        notes=(NO_FIGURE,),
    )


def table_3(reading: PaperReading) -> PaperTable:
    """Ranks of LoRA: one seed, and the trend over ranks."""
    columns: Mapping[str, Column] = {
        "seed": single(lambda cell: cell.seed, 0),
        "rho": single(lambda cell: cell.rho.rho),
        "p": single(lambda cell: cell.rho_with("AULC").p_value, -1),
        "rho with final loss": single(lambda cell: cell.rho_with("final loss").rho),
        "validation accuracy": single(lambda cell: cell.accuracy, why=ACCURACY_WHY),
    }
    rows: list[TableRow] = []
    for (model, data), ranks in reading.ranks(reading.planned).items():
        if not any(condition in reading.own for condition in ranks.values()):
            continue
        listed = {*RANKS, *ranks} if next(iter(ranks.values())).of_paper else ranks
        for rank in sorted(listed):
            condition = ranks.get(rank)
            entries = [NOT_PLANNED if condition is None else column(condition) for column in columns.values()]
            rows.append(TableRow((model, data, str(rank)), tuple(entries)))
        done = {rank: c.one.rho.rho for rank, c in ranks.items() if c.one is not None}
        why = f"needs 3 ranks, {len(done)} finished" if len(done) < 3 else "undefined"
        trend = number_entry(rank_trend(list(done), list(done.values())).rho, why=why)
        rows.append(TableRow((model, data, "trend"), (EMPTY, trend, EMPTY, EMPTY, EMPTY)))
    return PaperTable(
        "3",
        "LoRA ranks",
        f"Of one seed, as in the paper: {SEED}, or the first that is finished. p: of rho, items as independent. Trend: "
        "Spearman's rho of rank and rho.",
        ("model", "data", "rank"),
        tuple(columns),
        tuple(rows),
        (NO_FIGURE,),
        "no model and data set with two LoRA ranks",
    )


def noise_table(reading: PaperReading) -> PaperTable:
    """D: label noise, each variant below its base."""

    def area(items: str, why: str) -> Column:
        return mean(lambda cell: cell.mean(cell.aulc, items), why=why)

    columns: Mapping[str, Column] = {
        "settled": area(SETTLED, "no item"),
        "settled, flipped": area(FLIPPED, "none flipped"),
        "settled, not flipped": area(UNFLIPPED, "none flipped"),
        "contested": area(CONTESTED, "no item"),
        "rho": RHO,
        "validation accuracy": ACCURACY,
        "Wilcoxon p": partial(_against, reading, lambda pairs: number_entry(pairs.p_wilcoxon, -1)),
        "d": partial(_against, reading, lambda pairs: number_entry(pairs.cohens_d)),
    }
    return grid(
        "D",
        "Label noise",
        "AULC on the label from before the flip, mean over a group's items (settled: flipped or not, as in the paper, "
        f"then each by itself). p and d: of one seed ({SEED}, or the first), settled items' AULC above that without "
        "noise: Wilcoxon's one-sided signed-rank test, items as independent; d = mean / sd of the differences.",
        reading.variants(lambda spec: spec.training.noise is not None),
        lambda _: columns,
        by="noise",
        levels=lambda c: (_noise_words(c.spec),),
        notes=(NO_FIGURE,),
    )


def _noise_words(spec: RunSpec) -> str:
    noise = spec.training.noise
    return "none" if noise is None else f"{noise.kind} {noise.rate:.0%}, {noise.among}"


def _against(
    reading: PaperReading, entry: Callable[[PairedDifference], Entry], condition: Condition
) -> Entry:
    """A number of settled items' AULC, a noisy condition minus its base, in one seed."""
    base, noisy = reading.base_of(condition), condition.one
    if base is condition:
        return EMPTY
    if noisy is None:
        return Entry(missing=condition.absent)
    plain = next((cell for cell in base.cells if cell.seed == noisy.seed), None)
    return Entry(missing="no base cell") if plain is None else entry(settled_difference(noisy, plain))


def settled_difference(noisy: PaperCell, base: PaperCell) -> PairedDifference:
    """AULC of the items that are settled in the base cell: noisy minus base, joined by id."""
    settled = {i for i, member in zip(base.ids, base.members[SETTLED].tolist(), strict=True) if member}
    sides = [
        [(i, area) for i, area in zip(cell.ids, cell.aulc.tolist(), strict=True) if i in settled]
        for cell in (noisy, base)
    ]
    (ours, theirs) = ([i for i, _ in side] for side in sides)
    return paired_difference(ours, [area for _, area in sides[0]], theirs, [area for _, area in sides[1]])


def ia3_table(reading: PaperReading) -> PaperTable:
    """F: IA3, beside the other methods on the same model and data."""
    places = {(c.model, c.data) for c in reading.own if c.spec.method.name == "ia3"}
    return grid(
        "F",
        "IA3",
        f"Beside the other methods on the same model and data. Changes as in table 2. {SEEDS}",
        [c for c in reading.own if (c.model, c.data) in places],
        lambda _: {"rho": RHO, "validation accuracy": ACCURACY, **CHANGES, "paper, rho": known_rho},
    )


def decoder_table(reading: PaperReading) -> PaperTable:
    """G: decoder-only models: they read their input through a prompt."""
    columns: Mapping[str, Column] = {
        "rho": RHO,
        "tau-b": mean(lambda cell: cell.tau.tau),
        "p": largest(lambda cell: cell.rho_with("AULC").p_value),
        "validation accuracy": ACCURACY,
        **CHANGES,
    }
    return grid(
        "G",
        "Decoder-only models",
        f"p: the largest over seeds, of rho, items as independent. Changes as in table 2. {SEEDS} (The paper's of this "
        "table: divisor S.)",
        [c for c in reading.own if c.decoder],
        lambda _: columns,
        notes=(NO_FIGURE, GPT2_FAILED),
    )


def bucket_table(reading: PaperReading) -> PaperTable:
    """Entropy buckets: trained on a part of the tracked items."""
    return grid(
        "buckets",
        "Entropy buckets",
        f"Trained on the bulk and a part of the tracked items; rho over all tracked items. {SEEDS}",
        reading.variants(lambda spec: spec.dataset.train_groups is not None),
        lambda _: {"rho": RHO, "validation accuracy": ACCURACY},
        by="tracked items trained on",
        levels=lambda c: (_bucket_words(c.spec),),
        notes=(NO_FIGURE,),
    )


def _bucket_words(spec: RunSpec) -> str:
    groups = spec.dataset.train_groups
    if groups is None:
        return "all"
    sizes = {"settled": groups.settled, "middle": groups.middle, "contested": groups.contested}
    return ", ".join(f"{size} {name}" for name, size in sizes.items() if size is not None)


def soft_table(reading: PaperReading) -> PaperTable:
    """Soft labels: trained on the annotators' shares, below the base."""

    def columns(level: str) -> Mapping[str, Column]:
        items = level.rpartition(", ")[2]

        def of_changes(of: Callable[[np.ndarray[tuple[int], np.dtype[np.float64]]], float]) -> Column:
            return mean(lambda cell: of(cell.known(cell.change, items)), why="no item")

        overall = items == ALL
        return {
            "rho": RHO if overall else lambda _: EMPTY,
            "change, mean": mean(lambda cell: cell.mean(cell.change, items), why="no item"),
            "change, sd": of_changes(lambda x: float(x.std(ddof=1)) if len(x) > 1 else float("nan")),
            "change, median": of_changes(lambda x: float(np.median(x)) if len(x) else float("nan")),
            "share rising": of_changes(lambda x: float((x > 0).mean()) if len(x) else float("nan")),
            "rho, H and change": mean(lambda cell: cell.rho_with("change").rho)
            if overall
            else lambda _: EMPTY,
        }

    def levels(condition: Condition) -> list[str]:
        soft = condition.spec.training.targets == "annotators"
        return [f"{'soft' if soft else 'hard'}, {items}" for items in ITEMS]

    return grid(
        "soft",
        "Soft labels",
        "Trained on the annotators' shares (soft) or the gold label (hard); loss on gold in both. Change: last minus "
        f"first loss; mean, sd and median over items, share of items whose loss rose. {SEEDS}",
        reading.variants(lambda spec: spec.training.targets == "annotators"),
        columns,
        by="targets, items",
        levels=levels,
        notes=(NO_FIGURE,),
    )
