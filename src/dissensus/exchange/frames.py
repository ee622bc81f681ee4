"""One row per example, as a table of Arrow, pandas, polars or `datasets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy, backed
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import DataError, MissingDependencyError
from dissensus.metrics import example_metrics
from dissensus.metrics.learning import Learning, learning
from dissensus.stats import entropy_groups
from dissensus.stats.groups import SETTLED

if TYPE_CHECKING:
    import datasets
    import pandas
    import polars


def example_table(curves: Curves, *, text: bool = False, noise_floor: float = 0.1) -> pa.Table:
    """All that is known of each example, one row each, in the order of the curves.

    Columns: id; gold (a label's name, null without one); count_LABEL for each label (annotators who chose it);
    entropy (bits); regime; aulc, aulc_soft, initial_loss, final_loss, delta, rise (nats); slope (nats per unit
    of training); unlearned (null where that is not defined, and for all where the model learned nothing; see
    `learning_of`); confidence, variability, correctness (shares);
    margin_mean, margin_final (nats); forgetting_events; then the covariates, and with `text` each text field. The
    metrics' own docstrings define them. Undefined numbers are NaN.

    Args:
        curves: n examples at T tracking points.
        text: with a column for each text field, under its name; null where an example lacks the field.
        noise_floor: the smallest rise that counts as un-learning, nats.

    Raises:
        DataError: a covariate or a text field has the name of one of the columns, or no text is stored.
        SpecError: the noise floor is negative or not a number.
    """
    metrics = example_metrics(curves, noise_floor=noise_floor)
    nothing = learning_of(curves).learned == "no"
    reversal, card, edge = metrics.unlearning, metrics.cartography, metrics.margin
    columns = {
        "id": pa.array(curves.ids, type=pa.string()),
        "gold": pa.array([None if g == NO_GOLD else curves.labels[g] for g in curves.gold], type=pa.string()),
        **{f"count_{label}": pa.array(curves.counts[:, k]) for k, label in enumerate(curves.labels)},
        "entropy": pa.array(annotation_entropy(curves.counts)),
        "regime": pa.array(curves.regime.tolist(), type=pa.string()),
        "aulc": pa.array(metrics.aulc),
        "aulc_soft": pa.array(metrics.aulc_soft),
        "initial_loss": pa.array(metrics.initial_loss),
        "final_loss": pa.array(metrics.final_loss),
        "delta": pa.array(reversal.delta),
        "slope": pa.array(reversal.slope),
        "rise": pa.array(reversal.rise),
        "unlearned": pa.array(reversal.flag, mask=~reversal.defined | nothing),
        "confidence": pa.array(card.confidence),
        "variability": pa.array(card.variability),
        "correctness": pa.array(card.correctness),
        "margin_mean": pa.array(edge.mean),
        "margin_final": pa.array(edge.final),
        "forgetting_events": pa.array(metrics.forgetting.events),
    }
    columns = _joined(
        columns, {name: pa.array(column) for name, column in curves.covariates.items()}, "covariate"
    )
    return pa.table(_joined(columns, _text_columns(curves), "text field") if text else columns)


def _text_columns(curves: Curves) -> dict[str, pa.Array]:
    if len(curves) and not curves.text:
        raise DataError("no text is stored with these curves; leave `text` out")
    fields = dict.fromkeys(name for fields in curves.text for name in fields)
    return {name: pa.array([fields.get(name) for fields in curves.text], type=pa.string()) for name in fields}


def _joined(columns: dict[str, pa.Array], further: dict[str, pa.Array], kind: str) -> dict[str, pa.Array]:
    clashing = sorted(columns.keys() & further.keys())
    if clashing:
        raise DataError(
            f"a {kind} is named {clashing[0]!r}, a column that every such table has; rename it"
            + (" in `covariates`" if kind == "covariate" else " in the data")
        )
    return {**columns, **further}


def to_pandas(curves: Curves, *, text: bool = False, noise_floor: float = 0.1) -> pandas.DataFrame:
    """`example_table` as a pandas DataFrame; `unlearned` has pandas' nullable `boolean` type.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingDependencyError("pandas", "exchange", "a pandas table") from None
    nullable = {pa.bool_(): pandas.BooleanDtype()}
    return example_table(curves, text=text, noise_floor=noise_floor).to_pandas(types_mapper=nullable.get)


def to_polars(curves: Curves, *, text: bool = False, noise_floor: float = 0.1) -> polars.DataFrame:
    """`example_table` as a polars DataFrame; undefined numbers stay NaN, `unlearned` is null where not defined.

    Raises:
        MissingDependencyError: polars is not installed.
    """
    try:
        import polars
    except ImportError:
        raise MissingDependencyError("polars", "exchange", "a polars table") from None
    return polars.DataFrame(example_table(curves, text=text, noise_floor=noise_floor))


def to_datasets(curves: Curves, *, text: bool = False, noise_floor: float = 0.1) -> datasets.Dataset:
    """`example_table` as a `datasets.Dataset`, in memory.

    Raises:
        MissingDependencyError: datasets is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("datasets", "exchange", "a `datasets` data set") from None
    table = example_table(curves, text=text, noise_floor=noise_floor)
    return datasets.Dataset.from_dict(
        table.to_pydict(), features=datasets.Features.from_arrow_schema(table.schema)
    )


def learning_of(curves: Curves, *, share: float = 1 / 3) -> Learning:
    """`metrics.learning` of curves, with the settled group by plug-in entropy.

    Args:
        curves: n examples at T tracking points.
        share: share of examples that count as settled, in (0, 1/2].
    """
    groups = entropy_groups(annotation_entropy(curves.counts), share=share)
    return learning(curves, settled=groups == SETTLED, backed=backed(curves.counts, curves.gold))
