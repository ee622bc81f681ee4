"""Covariates by name: what partial correlations hold fixed, and the columns that are computed for them.

Of each example, by default as far as a cell has them: `token_count`, `lexical_overlap`, `gold` (its class) and
`initial_loss`. A study's `analysis: {covariates: [...]}` names others in their place:

- `gold_share`: share of the annotators who chose the gold label;
- `majority_share`: share of them who chose the most frequent one;
- `words`: words in all text fields; `words_premise` and so on: in one of them. A word is what stands between spaces;
- `count_skewness`: skewness of the label counts, m3 / m2^(3/2) with divisor K (`scipy.stats.skew`'s default); NaN where
  all labels have as many annotators;
- any other covariate that is stored with the cell: `dispersion`, where labels are an ordered scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from dissensus.config import AnalysisSpec, nearest
from dissensus.curves import FloatArray
from dissensus.errors import SpecError
from dissensus.store.files import ROW_GROUP

STANDARD_COVARIATES = ("token_count", "lexical_overlap", "gold", "initial_loss")
"""What the partial correlation holds fixed, as far as a cell has it, unless a study names others."""
WORDS = "words"
WORDS_OF = "words_"
FROM_COUNTS = ("majority_share", "count_skewness")
_SENTENCES = {
    "token_count": "token count",
    "lexical_overlap": "lexical overlap",
    "gold": "gold class",
    "initial_loss": "initial loss",
    "gold_share": "share of the gold label",
    "majority_share": "share of the majority label",
    "words": "number of words",
    "dispersion": "ordinal dispersion",
    "count_skewness": "skewness of the label counts",
}
Texts = Callable[[int, int], Sequence[Mapping[str, str]]]
"""From two places to the text fields of the examples between them."""


def covariate_names(settings: AnalysisSpec) -> tuple[str, ...]:
    """The covariates of a study, by name."""
    return STANDARD_COVARIATES if settings.covariates is None else settings.covariates


def covariate_words(name: str) -> str:
    """A covariate as sentences call it."""
    if name.startswith(WORDS_OF):
        return f"words of the {name.removeprefix(WORDS_OF)}"
    return _SENTENCES.get(name, name)


def further_columns(
    names: Sequence[str], stored: Mapping[str, FloatArray], counts: FloatArray, texts: Texts
) -> dict[str, FloatArray]:
    """Those of the named covariates that are neither stored with a cell nor among its metrics, shape (n,) each.

    Args:
        names: of the covariates.
        stored: those stored with the cell.
        counts: annotators per label, shape (n, K).
        texts: text fields by place; none (an empty list) where no text is stored.

    A field's words are left out where the examples have no field of a like name: another data set's may.

    Raises:
        SpecError: a name is none of these.
    """
    measured = ("gold", "initial_loss", "gold_share")
    wanted = [name for name in names if name not in stored and name not in measured]
    columns = {name: _OF_COUNTS[name](counts) for name in wanted if name in FROM_COUNTS}
    words = word_counts(texts, len(counts)) if any(name.startswith(WORDS) for name in wanted) else {}
    columns |= {name: words[name] for name in wanted if name in words}
    for name in wanted:
        known = (*STANDARD_COVARIATES, "gold_share", *FROM_COUNTS, *stored, *words)
        field_words = [field for field in words if field.startswith(WORDS_OF)]
        # What only other data sets have (overlap without a pair, the words of a premise) is left out, and said to be.
        elsewhere = name.startswith(WORDS_OF) and not get_close_matches(name, field_words, cutoff=0.8)
        if name not in columns and name not in STANDARD_COVARIATES and not elsewhere:
            raise SpecError(
                f"analysis.covariates names {name!r}, which these examples do not have; {nearest(name, known)}"
            )
    return columns


def word_counts(texts: Texts, n: int) -> dict[str, FloatArray]:
    """`words_FIELD` of each text field and `words` of all of them, shape (n,) each; nothing without texts."""
    columns: dict[str, list[float]] = {}
    for begin in range(0, n, ROW_GROUP):
        for text in texts(begin, min(n, begin + ROW_GROUP)):
            lengths = {field: len(words.split()) for field, words in text.items()}
            for field, length in lengths.items():
                columns.setdefault(WORDS_OF + field, []).append(float(length))
            columns.setdefault(WORDS, []).append(float(sum(lengths.values())))
    return {name: np.array(values) for name, values in columns.items() if len(values) == n}


def majority_share(counts: FloatArray) -> FloatArray:
    """Share of the annotators who chose the most frequent label, shape (n,); NaN without annotations."""
    with np.errstate(invalid="ignore"):
        return np.asarray(counts.max(axis=1) / counts.sum(axis=1), dtype=np.float64)


def count_skewness(counts: FloatArray) -> FloatArray:
    """Skewness of each example's K label counts, m3 / m2^(3/2), shape (n,); NaN where they are all equal."""
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
        deviation = shares - shares.mean(axis=1, keepdims=True)
        spread = (deviation**2).mean(axis=1)
        skewness = (deviation**3).mean(axis=1) / spread**1.5
    return np.asarray(np.where(spread > 1e-18, skewness, np.nan), dtype=np.float64)


_OF_COUNTS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "majority_share": majority_share,
    "count_skewness": count_skewness,
}
