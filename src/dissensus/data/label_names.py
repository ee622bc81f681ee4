"""Label names in files of annotations: spellings of one label, words for "no answer", and -1.

One reading for all cells of a data set (`read_labels`). Whatever it decides stands in a note that names the key which
decides otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dissensus.data.sources.reading import sorted_labels
from dissensus.data.spelling import nearly_alike, spelling_key
from dissensus.errors import DataError

MISSING = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "NULL", "Null", "null")
"""Spellings, letter by letter, of a missing value in R, pandas, SQL, JSON and spreadsheets."""

NO_ANSWER = (
    "i don't know",
    "i dont know",
    "i do not know",
    "don't know",
    "dont know",
    "idk",
    "skip",
    "skipped",
)
"""Words that may be labels too: those of somebody who does not choose one, in any case, and Python's 'None'."""

TOO_MANY = 1 / 3
"""A word of `NO_ANSWER` that is so large a share of all answers may be a label: the study must say."""

_Merged = tuple[str, list[tuple[str, float]]]
"""A label's name, and its spellings with how often each is there."""


@dataclass(frozen=True)
class LabelReading:
    """How the cells of a data set are read.

    Attributes:
        labels: all label names, in order.
        names: spelling in a cell -> label name; None for a spelling that stands for no answer.
        notes: a sentence for each thing that was decided.
    """

    labels: tuple[str, ...]
    names: Mapping[str, str | None]
    notes: tuple[str, ...]


def read_labels(
    answers: Mapping[str, float],
    golds: Mapping[str, float],
    *,
    labels: Sequence[str] | None,
    listed: Sequence[str] = (),
    missing: Sequence[str] | None,
    exact: bool,
    where: str,
    places: Mapping[str, str],
) -> LabelReading:
    """Decide which spellings are one label, and which are none.

    Args:
        answers: spelling -> annotations that have it.
        golds: spelling -> gold labels that have it.
        labels: names that the study gives, in order; None: those that are listed or seen.
        listed: names that the file lists, in order; others may be seen besides.
        missing: spellings (in any case) that stand for no answer; None: `MISSING`, `NO_ANSWER`, and -1 among 0, 1, 2.
        exact: keep spellings apart that differ in case, width, spaces or trailing zeros alone.
        where: the file, for messages.
        places: spelling -> where in the file it is first, for messages.

    Raises:
        DataError: a word for "no answer" is a third of all answers and the study does not say what it is, a cell holds
            a label that `labels` does not name, or two of `labels` are one when spelling is folded.
    """
    seen = {word: answers.get(word, 0) + golds.get(word, 0) for word in (*answers, *golds)}
    known = listed if labels is None else labels
    none = _not_answers(seen, answers, known, missing, where, all_named=labels is not None)
    spelt = {word: n for word, n in seen.items() if word not in none}
    names, merged = _one_name_each(spelt, known, exact, where)
    for word, name in names.items():
        if labels is not None and name not in labels:
            raise DataError(
                f"{places.get(word, where)}: the label {word!r} is not among the labels: {', '.join(labels)}"
            )
    order = (*known, *sorted_labels(set(names.values()) - set(known)))
    notes = [_missing_note(none, seen, missing is None)] if none else []
    keys = set(map(spelling_key, seen))
    absent = [word for word in missing or () if spelling_key(word) not in keys]
    notes += [f"no answer is {', '.join(map(repr, absent))}, which `missing` names"] if absent else []
    notes += [_merged_note(merged)] if merged else []
    notes += _doubtful(order, labels, missing, none)
    return LabelReading(order, {**names, **dict.fromkeys(none)}, tuple(notes))


def _not_answers(
    seen: Mapping[str, float],
    answers: Mapping[str, float],
    known: Sequence[str],
    missing: Sequence[str] | None,
    where: str,
    *,
    all_named: bool,
) -> list[str]:
    if missing is not None:
        keys = {spelling_key(word) for word in missing}
        return [word for word in seen if spelling_key(word) in keys]
    named = set(known)
    words = [word for word in seen if word not in named and (word in MISSING or _is_no_answer(word))]
    total = sum(answers.values())
    # Where the study names all labels, none of these is one.
    for word in words if not all_named else ():
        # A gap is a gap however many there are: most cells of a wide table of a crowd are. With fewer than two labels
        # left it may be one all the same.
        if answers.get(word, 0) > TOO_MANY * total and (word not in MISSING or len(seen) - len(words) < 2):
            raise _ambiguous(word, answers[word], total, where)
    words += [
        word for word in seen if spelling_key(word) == "-1" and word not in named and _from_zero(seen, word)
    ]
    return words


def _is_no_answer(word: str) -> bool:
    folded = " ".join(word.casefold().replace("’", "'").split())
    return word == "None" or folded in NO_ANSWER


def _from_zero(seen: Iterable[str], minus_one: str) -> bool:
    """Whether the other labels are 0, 1, 2 and so on, three at least: -1 is then "no label", as in `datasets`."""
    others = {spelling_key(word) for word in seen} - {spelling_key(minus_one)}
    return {"0", "1", "2"} <= others and all(word.isdecimal() for word in others)


def _ambiguous(word: str, n: float, total: float, where: str) -> DataError:
    return DataError(
        f"{where}: {word!r} is {n:g} of {total:g} answers, and may be a label or stand for no answer. Say which with "
        f"`missing: []` (it is a label) or `missing: [{word!r}]` (it is no answer)"
    )


def _one_name_each(
    spelt: Mapping[str, float], known: Sequence[str], exact: bool, where: str
) -> tuple[dict[str, str], list[_Merged]]:
    """Spelling -> name, and what was merged. A label that is known by name lends its own."""
    by_key: dict[str, str] = {}
    for label in known:
        twin = by_key.setdefault(label if exact else spelling_key(label), label)
        if twin != label and set(spelt) <= set(known):
            return {word: word for word in spelt}, []  # every spelling is named: they are kept apart
        if twin != label:
            raise DataError(
                f"{where}: the labels {twin!r} and {label!r} differ in spelling alone. Name one of them, or keep "
                "them apart with `same_labels: exact`"
            )
    groups: dict[str, list[tuple[str, float]]] = {}
    for word, n in spelt.items():
        groups.setdefault(word if exact else spelling_key(word), []).append((word, n))
    names: dict[str, str] = {}
    merged: list[_Merged] = []
    for key, spellings in groups.items():
        spellings.sort(key=lambda pair: (-pair[1], pair[0]))
        name = by_key.get(key, spellings[0][0])
        names.update((word, name) for word, _ in spellings)
        if len(spellings) > 1 or spellings[0][0] != name:
            merged.append((name, spellings))
    return names, merged


def _missing_note(none: Sequence[str], seen: Mapping[str, float], guessed: bool) -> str:
    words = ", ".join(f"{word!r} ({seen[word]:g})" for word in none)
    return f"read as no answer: {words}" + (
        "; to keep one as a label, list the others in `missing`" if guessed else ""
    )


def _merged_note(merged: Sequence[_Merged]) -> str:
    shown = "; ".join(
        f"{' and '.join(f'{word!r} ({n:g})' for word, n in spellings)} as {name!r}"
        for name, spellings in merged[:5]
    )
    rest = f"; and {len(merged) - 5} more" if len(merged) > 5 else ""
    return f"read as one label: {shown}{rest}; `same_labels: exact` keeps spellings apart"


_UNSURE = frozenset(
    (
        *("unsure", "not sure", "unclear", "undecided", "cannot tell", "can't tell", "none", "null", "other"),
        *("missing", "no answer", "n.a.", "-", "--", "?", ".", "99", "-9", "-99", "999", "-999"),
        *(
            "unknown",
            "abstain",
            "abstained",
            "refused",
            "undefined",
            "not applicable",
            "no opinion",
            "na",
            "nat",
        ),
        *(
            "no label",
            "unlabeled",
            "unlabelled",
            "cannot say",
            "can't say",
            "no response",
            "blank",
            "empty",
            "tbd",
        ),
        *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "error"),
    )
)
"""Labels, folded, that stand for no answer in some data sets and are labels in others."""


def _doubtful(
    order: Sequence[str], labels: Sequence[str] | None, missing: Sequence[str] | None, none: Sequence[str]
) -> list[str]:
    """Labels that may be no labels, where neither `labels` nor `missing` says; `none` are read as no answer."""
    if labels is not None:
        return []
    if missing is not None:
        unnamed = [word for word in order if word in MISSING] if missing else []
        return [
            f"{', '.join(map(repr, unnamed))} counted as a label, for `missing` replaces the usual words and does not "
            "name it"
        ] * bool(unnamed)
    doubtful = [word for word in order if word.casefold().replace("’", "'") in _UNSURE]
    if doubtful and all(spelling_key(word).lstrip("-").isdecimal() for word in order) and len(order) > 9:
        doubtful = []  # 99 is one of many numbers
    below = [word for word in order if word.startswith("-") and word.lstrip("-").isdecimal()]
    if below == ["-1"] and all(spelling_key(word).lstrip("-").isdecimal() for word in order):
        doubtful.append("-1")
    notes = [
        f"{', '.join(map(repr, doubtful))} counted as a label; if it is no answer, say `missing: "
        f"[{', '.join(map(repr, (*none, *doubtful)))}]`"
    ]
    return (notes if doubtful else []) + _looking_alike([word for word in order if word not in doubtful])


def _looking_alike(order: Sequence[str]) -> list[str]:
    """Sentences on labels that count as different and may be the same."""
    notes = []
    for same in nearly_alike(order)[:5]:
        notes.append(
            f"the labels {' and '.join(map(repr, same))} differ in punctuation alone, and count as different labels; "
            "if they are one, write them alike"
        )
    by_fold = {word.casefold(): word for word in order}
    for short, long in (("y", "yes"), ("n", "no"), ("t", "true"), ("f", "false")):
        if short in by_fold and long in by_fold:
            notes.append(
                f"the labels {by_fold[short]!r} and {by_fold[long]!r} count as different labels; if they are one, "
                "write them alike"
            )
    numbers = [word for word in order if spelling_key(word).lstrip("-").replace(".", "", 1).isdecimal()]
    words = [word for word in order if word not in numbers]
    if not numbers or not words:
        return notes
    both = [by_fold[word] for word in ("true", "false") if word in by_fold and {"0", "1"} & set(order)]
    if both:
        notes.append(f"{both[0]!r} is a label beside numbers; if it is one of them, write it as one")
    else:
        notes.append(
            f"some labels are numbers ({', '.join(numbers[:3])}) and some are not ({', '.join(words[:3])}); if they "
            "stand for the same, write them alike"
        )
    return notes
