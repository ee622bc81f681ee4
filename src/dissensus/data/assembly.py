"""Assembly of a cell's data: from a data-set specification to the tracked set and the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.config import DatasetSpec, EntropyCuts, HoldoutSpec, Regime, TrainGroups
from dissensus.config.sources import SourceSpec
from dissensus.data.agreement import annotation_entropy, entropy_classes
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.annotators.summary import annotator_notes
from dissensus.data.notes import facts
from dissensus.data.sources import load_source
from dissensus.errors import DataError, MissingDependencyError
from dissensus.wording import first_line

_CLASSES = ("settled", "middle", "contested")
"""In the order of entropy, which is the order that the split goes by."""


@dataclass(frozen=True)
class CellData:
    """The data of one cell.

    Attributes:
        tracked: the tracked set.
        train: the training set, tracked examples included when they are trained on.
        dropped_shared: pool examples left out because they share a text field with a tracked example.
        dropped_unlabelled: pool examples left out because they have no gold label.
        notes: what a reader must know of both, a sentence each (`data/notes.py`).
        validation: the examples of the tracked source that are held back; None where none are.
        classes: the entropy class of each tracked example, shape (tracked,); None without `entropy_cuts`.
    """

    tracked: AnnotatedDataset
    train: AnnotatedDataset
    dropped_shared: int
    dropped_unlabelled: int
    notes: tuple[str, ...] = ()
    validation: AnnotatedDataset | None = None
    classes: NDArray[np.str_] | None = None


def assemble(
    spec: DatasetSpec,
    regime: Regime,
    *,
    sample_seed: int,
    data_dir: Path | None = None,
    load: Callable[[SourceSpec], AnnotatedDataset] | None = None,
) -> CellData:
    """Load, sub-sample and check the data of a cell.

    The tracked set and what is held back of its source depend on the specification alone, so that all seeds track the
    same examples; the draws from the training pool (without `train_seed`) and from entropy classes depend on
    `sample_seed`.

    Args:
        spec: the data set.
        regime: of the cell.
        sample_seed: of the draws.
        data_dir: where data files are looked up first.
        load: loads a source; default: `load_source` with `data_dir`.

    Raises:
        DataError: labels differ, too few examples, a tracked example without a gold label, or a held-out
            example whose text is in the training set.
    """
    load = load or (lambda source: load_source(source, data_dir=data_dir))
    tracked = load(spec.tracked)
    available = len(tracked)
    of_annotators = annotator_notes(tracked)
    validation = None
    if spec.holdout is not None and spec.entropy_cuts is not None:
        tracked, validation = held_back(tracked, spec.holdout, spec.entropy_cuts)
        available = len(tracked)
    if spec.tracked_size is not None:
        tracked = stratified_sample(tracked, spec.tracked_size)
    no_gold = [e.id for e in tracked if e.gold is None]
    if no_gold:
        raise DataError(
            f"{len(no_gold)} tracked example(s) of {spec.name!r} have no gold label, e.g. {no_gold[0]!r}; "
            "its loss would be undefined. Leave them out of the file, or take gold from the majority."
        )
    of_file = (
        f" (of all {available}, of which {len(tracked)} are tracked)" if len(tracked) < available else ""
    )
    notes = [f"tracked set: {note}{of_file}" for note in (*tracked.notes, *of_annotators)]
    notes += [f"tracked set: {note}" for note in facts(tracked)]
    classes = None
    if spec.entropy_cuts is not None:
        classes = entropy_classes(tracked.counts, spec.entropy_cuts.bits)
    own = tracked
    if spec.train_groups is not None and classes is not None:
        own = _of_groups(tracked, classes, spec.train_groups, sample_seed)
        notes.append(f"training set: {len(own)} of the {len(tracked)} tracked examples are trained on")
    if spec.train is None:
        if validation is not None:
            notes += _shared_with_validation(own, validation)
        return CellData(tracked, own, 0, 0, tuple(notes), validation, classes)
    pool = load(spec.train)
    if pool.labels != tracked.labels:
        raise DataError(
            f"data set {spec.name!r}: the training pool's labels {list(pool.labels)} are not the tracked set's "
            f"{list(tracked.labels)}; they must be the same, in the same order"
        )
    if pool.fields != tracked.fields:
        raise DataError(
            f"data set {spec.name!r}: the training pool's text fields {list(pool.fields)} are not the tracked set's "
            f"{list(tracked.fields)}"
        )
    labelled = [e for e in pool if e.gold is not None]
    unshared = _without_shared(labelled, tracked, spec.exclude_shared)
    # The tracked copy is the one that is trained on, and what is held back is trained on by nobody. A tracked example
    # that is held out, and whose text the pool has, is refused below.
    twins = set() if spec.keep_shared_texts or validation is None else {e.joined_text for e in validation}
    if regime == "trained_on" and not spec.keep_shared_texts:
        twins |= {e.joined_text for e in tracked}
    drawable = [e for e in unshared if e.joined_text not in twins] if twins else unshared
    drawn = _draw(drawable, spec, sample_seed)
    if regime == "held_out":
        _refuse_overlap(drawn, tracked, spec.name)
        train = drawn
    else:
        train = [*own.examples, *drawn]
    named = AnnotatedDataset(f"{spec.name}-train", tracked.labels, tuple(_renamed(train, tracked)))
    notes += [f"training pool: {note}" for note in pool.notes]
    for left_out, why in (
        (len(pool) - len(labelled), "have no gold label"),
        (len(labelled) - len(unshared), f"share {' or '.join(spec.exclude_shared)} with a tracked example"),
        (
            len(unshared) - len(drawable),
            "have the text of a tracked example or of one held back",
        ),
    ):
        notes += [f"training pool: {left_out} examples were left out, for they {why}"] if left_out else []
    if validation is not None:
        notes += _shared_with_validation(named, validation)
    return CellData(
        tracked,
        named,
        len(labelled) - len(unshared),
        len(pool) - len(labelled),
        tuple(notes),
        validation,
        classes,
    )


def held_back(
    dataset: AnnotatedDataset, holdout: HoldoutSpec, cuts: EntropyCuts
) -> tuple[AnnotatedDataset, AnnotatedDataset]:
    """A data set cut in two as `holdout` says: the part that is kept, and the part that is held back.

    scikit-learn draws the split over the classes 0 (settled), 1 and 2 (contested): their order counts.

    Raises:
        DataError: an example has no annotations, or a class is too small to be split.
        MissingDependencyError: scikit-learn is missing.
    """
    try:
        from sklearn.model_selection import StratifiedShuffleSplit
    except ImportError:
        raise MissingDependencyError("scikit-learn", "train", "holdout") from None
    classes = entropy_classes(dataset.counts, cuts.bits)
    bare = [dataset.ids[i] for i in np.flatnonzero(classes == "")]
    if bare:
        raise DataError(
            f"holdout goes by entropy class, and {len(bare)} example(s) of {dataset.name!r} have no annotations, e.g. "
            f"{bare[0]!r}"
        )
    ordered = np.array([_CLASSES.index(group) for group in classes])
    split = StratifiedShuffleSplit(n_splits=1, test_size=holdout.share, random_state=holdout.seed)
    try:
        kept, back = next(split.split(np.zeros(len(ordered)), ordered))
    except ValueError as error:
        raise DataError(
            f"data set {dataset.name!r} cannot be split by holdout: {first_line(error)}"
        ) from None
    ids = np.array(dataset.ids, dtype=object)
    return dataset.subset(ids[np.sort(kept)]), dataset.subset(ids[np.sort(back)])


def _of_groups(
    tracked: AnnotatedDataset, classes: NDArray[np.str_], groups: TrainGroups, seed: int
) -> AnnotatedDataset:
    """The tracked examples of the classes that are trained on."""
    rng = np.random.default_rng([seed, 1])  # other numbers than the draw from the pool
    rows: list[int] = []
    for name in _CLASSES:
        wanted, of_class = getattr(groups, name), np.flatnonzero(classes == name)
        if wanted is None:
            continue
        size = len(of_class) if wanted == "all" else wanted
        if size > len(of_class):
            raise DataError(
                f"train_groups asks for {size} {name} examples, but {len(of_class)} of {tracked.name!r} are tracked"
            )
        rows += rng.choice(of_class, size=size, replace=False).tolist()
    if not rows:
        raise DataError(f"train_groups leaves no tracked example of {tracked.name!r} to train on")
    return tracked.subset(tracked.ids[i] for i in sorted(rows))


def _shared_with_validation(train: AnnotatedDataset, validation: AnnotatedDataset) -> list[str]:
    """A sentence where examples that are held back have a text of the training set."""
    notes = []
    for name in train.fields[:1]:
        seen = {_folded(e.text[name]) for e in train}
        shared = sum(_folded(e.text[name]) in seen for e in validation)
        if shared:
            notes.append(
                f"validation set: {shared} of {len(validation)} examples share their {name} with a training example"
            )
    return notes


def stratified_sample(dataset: AnnotatedDataset, size: int) -> AnnotatedDataset:
    """`size` examples spread evenly over the order of annotation entropy, the same every time.

    Ties in entropy are ordered by id, so the choice does not depend on the file's order.
    """
    if size > len(dataset):
        raise DataError(f"tracked_size is {size}, but data set {dataset.name!r} has {len(dataset)} examples")
    entropy = annotation_entropy(dataset.counts)
    order = sorted(range(len(dataset)), key=lambda i: (np.nan_to_num(entropy[i], nan=-1.0), dataset.ids[i]))
    picked = sorted({order[int(p)] for p in np.floor((np.arange(size) + 0.5) * len(dataset) / size)})
    return dataset.subset(dataset.ids[i] for i in picked)


def _without_shared(pool: list[Example], tracked: AnnotatedDataset, fields: tuple[str, ...]) -> list[Example]:
    unknown = [f for f in fields if f not in tracked.fields]
    if unknown:
        raise DataError(
            f"exclude_shared names {unknown[0]!r}; the text fields are {', '.join(tracked.fields)}"
        )
    unshared = pool
    for name in fields:
        seen = {_folded(e.text[name]) for e in tracked}
        unshared = [e for e in unshared if _folded(e.text[name]) not in seen]
    return unshared


def _draw(pool: list[Example], spec: DatasetSpec, sample_seed: int) -> list[Example]:
    if spec.train_size is None:
        if not pool:
            raise DataError(f"data set {spec.name!r}: no training example is left after exclusions")
        return pool
    if spec.train_size > len(pool):
        raise DataError(
            f"data set {spec.name!r}: train_size is {spec.train_size}, but the pool has {len(pool)} examples "
            "after exclusions"
        )
    if spec.train_seed is not None:  # the legacy generator, so that other programs' draws come out again
        picked = np.random.RandomState(spec.train_seed).choice(len(pool), size=spec.train_size, replace=False)
    else:
        picked = np.random.default_rng(sample_seed).choice(len(pool), size=spec.train_size, replace=False)
    return [pool[i] for i in sorted(picked.tolist())]


def _refuse_overlap(train: list[Example], tracked: AnnotatedDataset, name: str) -> None:
    texts = {e.joined_text for e in train}
    both = [e.id for e in tracked if e.joined_text in texts]
    if both:
        raise DataError(
            f"data set {name!r}: {len(both)} tracked example(s) are meant to be held out, but their text is in the "
            f"training set, e.g. {both[0]!r}. Drop shared texts with exclude_shared: [{', '.join(tracked.fields)}], "
            "or use regime: trained_on."
        )


def _renamed(train: list[Example], tracked: AnnotatedDataset) -> list[Example]:
    """Pool ids that a tracked example also bears get a prefix: the two are different examples."""
    tracked_objects = set(map(id, tracked.examples))
    tracked_ids = set(tracked.ids)
    return [
        e if id(e) in tracked_objects or e.id not in tracked_ids else replace(e, id=f"train:{e.id}")
        for e in train
    ]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
