"""Settings that cells ran with, in words: read off the cells, overrides included, never off the study alone.

A study's common settings may hold for none of its cells; what the page says must be true of every cell on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dissensus.config import ModelSpec, RunSpec, TrackingSpec
from dissensus.report.tables import method_words, percent
from dissensus.store.run_facts import RunFacts

PROMPT_SHOWN = 400
"""Characters of a prompt that the page shows; the specification holds all of it."""


def rates_sentence(cells: Sequence[RunSpec]) -> str:
    """How learning rates went with methods, as far as it is true of these cells."""
    if _single(cells, lambda cell: cell.method.label):
        return "Methods ran at one learning rate each and did not get equally far"
    if _single(cells, lambda cell: cell.condition):
        return (
            "Each condition ran at one learning rate (see its caption), not every one of a method at the same, and "
            "methods did not get equally far"
        )
    return (
        "Learning rates differ between conditions and between seeds (see the captions), and methods did not get "
        "equally far"
    )


def methods_words(cells: Sequence[RunSpec]) -> str:
    """Every method with the learning rates at which it ran."""
    return "; ".join(
        f"{method_words(method)} ({_rates(c for c in cells if c.method.label == method)})"
        for method in dict.fromkeys(cell.method.label for cell in cells)
    )


def epochs_words(cells: Iterable[RunSpec]) -> str:
    """'1.5 or 4 epochs'."""
    values = sorted({cell.training.epochs for cell in cells})
    return f"{_either(f'{v:g}' for v in values)} {'epoch' if values == [1] else 'epochs'}"


def batches_words(cells: Iterable[RunSpec]) -> str:
    """'batches of 16 or 32'."""
    return f"batches of {_either(str(v) for v in sorted({c.training.batch_size for c in cells}))}"


def noise_words(cells: Iterable[RunSpec]) -> str:
    """Label noise, nothing where no cell has any: '20% of the training labels flipped (uniform)'."""
    kinds = list(dict.fromkeys(cell.training.noise for cell in cells))
    if not any(kinds):
        return ""
    rates = _either(f"{percent(n.rate)}{_AMONG[n.among]} ({n.kind})" if n else "none" for n in kinds)
    return f"training labels flipped: {rates}"


_AMONG = {"all": "", "tracked": " of the tracked examples", "settled": " of the settled tracked examples"}


def schedule_words(cells: Iterable[RunSpec]) -> str:
    """How tracking points were placed; a schedule is not named where something else placed them."""
    return _either(dict.fromkeys(_placed(cell.tracking) for cell in cells))


def _placed(tracking: TrackingSpec) -> str:
    if tracking.steps is not None:
        words = "at the steps given"
    else:
        words = tracking.schedule if tracking.every is None else f"every {tracking.every} steps"
    return f"{words} and at epoch ends" if tracking.epoch_ends else words


def sizes_words(sizes: Iterable[int | None], every: str = "all") -> str:
    """'3000 or 12000'; None is said as `every`."""
    known = set(sizes)
    words = [str(size) for size in sorted(size for size in known if size is not None)]
    return _either([*words, every] if None in known else words)


def prompts_words(cells: Iterable[RunSpec]) -> str:
    """Prompt and label words of every model that answers in label words; nothing where none does."""
    models = dict.fromkeys(cell.model for cell in cells if cell.model.head == "verbalizer")
    return "; ".join(f"{model.label.rpartition('--')[2]}: {_prompt(model)}" for model in models)


def caption(cells: Sequence[RunSpec], stored: Sequence[RunFacts]) -> str:
    """Learning rate, epochs, training examples and label noise of one condition's cells, its seeds.

    Args:
        cells: of the condition; at least one.
        stored: facts of each cell; training examples are left unsaid where none counts them.
    """
    examples = sorted({n for facts in stored if (n := facts.sizes.get("train_examples")) is not None})
    over = f" over {_either(f'{n:,}' for n in examples)} training examples" if examples else ""
    parts = [_rates(cells), epochs_words(cells) + over, batches_words(cells), noise_words(cells)]
    text = ", ".join(filter(None, parts))
    return text[:1].upper() + text[1:]


def _prompt(model: ModelSpec) -> str:
    words = f"words {', '.join(model.label_words)}" if model.label_words else "the labels' own names"
    if model.prompt is None:
        return f"{words}; the default prompt, which lists them"
    shown = " ⏎ ".join(model.prompt.splitlines())
    return f"{words}; prompt “{shown if len(shown) <= PROMPT_SHOWN else shown[:PROMPT_SHOWN] + ' …'}”"


def _single(cells: Sequence[RunSpec], key: Callable[[RunSpec], str]) -> bool:
    """Whether the cells of one key share one learning rate."""
    pairs = {(key(cell), cell.method.learning_rate) for cell in cells}
    return len(pairs) == len({name for name, _ in pairs})


def _rates(cells: Iterable[RunSpec]) -> str:
    values = sorted({cell.method.learning_rate for cell in cells})
    return f"learning {'rate' if len(values) == 1 else 'rates'} {_either(f'{v:g}' for v in values)}"


def _either(words: Iterable[str]) -> str:
    """'a', 'a or b', 'a, b or c'."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last
