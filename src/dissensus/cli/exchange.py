"""Commands that import what other tools recorded into a curves store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus.cli.options import Json
from dissensus.cli.output import emit_json, next_step, number, say

if TYPE_CHECKING:
    from dissensus.exchange import Imported

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The curves store; a new or empty folder.")]
Annotations = Annotated[
    Path | None,
    typer.Option(
        "--annotations",
        metavar="TABLE",
        help="JSONL, CSV or Parquet with an id and label counts or annotators' labels; without it no entropy is known.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="A,B,...", help="Names of the model's labels, in the order of its outputs."
    ),
]


@app.command()
def cartography(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The folder of dynamics_epoch_0.jsonl, or the one above.")
    ],
    out: Out,
    annotations: Annotations = None,
    labels: Labels = None,
    steps_per_epoch: Annotated[
        int, typer.Option("--steps-per-epoch", min=1, help="Optimiser steps of an epoch; 1 counts in epochs.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Import the training dynamics that allenai/cartography logs."""
    from dissensus.exchange import read_annotations, read_cartography

    imported = read_cartography(
        path,
        annotations=read_annotations(annotations) if annotations else None,
        labels=_names(labels),
        steps_per_epoch=steps_per_epoch,
    )
    _store(imported, out, as_json)


@app.command()
def aum(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="full_aum_records.csv, or the folder that holds it.")
    ],
    out: Out,
    annotations: Annotations = None,
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Import the records of an AUMCalculator (asappresearch/aum) with compressed=False."""
    from dissensus.exchange import read_annotations, read_aum

    imported = read_aum(
        path, annotations=read_annotations(annotations) if annotations else None, labels=_names(labels)
    )
    _store(imported, out, as_json)


def _names(labels: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in labels.split(",")) if labels else None


def _store(imported: Imported, out: Path, as_json: bool) -> None:
    """Write the store, and say what is in it."""
    from dissensus.exchange import write_store

    folder = write_store(imported.curves, out)
    facts = _facts(imported)
    if as_json:
        emit_json({"store": str(folder), **facts, "notes": list(imported.notes)})
        return
    say(
        f"{facts['examples']} examples, {facts['labels']} labels, {facts['points']} tracking points; "
        f"the curves store is {folder}"
    )
    for line in imported.notes:
        say(f"  note: {line}")
    say(f"mean AULC:                {number(facts['aulc_mean'], 3)} nats")
    why = f" ({facts['learned_why']})" if facts["learned_why"] else ""
    say(f"learned:                  {facts['learned']}{why}")
    say(f"un-learned:               {number(facts['unlearned_share'], 3)} of {facts['unlearning_defined']}")
    say(f"mean annotation entropy:  {number(facts['entropy_mean'], 3)} bits, of {facts['entropy_known']}")
    say(f"rho(entropy, AULC):       {number(facts['rho'], 3)} (n = {facts['rho_n']})")
    say(f"open it in Python: dissensus.load_curves({str(folder)!r})")
    next_step(("report", str(folder)), ("triage", str(folder)))


def _facts(imported: Imported) -> dict[str, Any]:
    """What there is to say of an import in a few numbers; NaN where it is not defined."""
    import numpy as np

    from dissensus.data.agreement import annotation_entropy
    from dissensus.exchange.frames import learning_of
    from dissensus.metrics import example_metrics
    from dissensus.stats import spearman

    curves = imported.curves
    learned = learning_of(curves)
    nothing = learned.learned == "no"  # then nothing is un-learned
    metrics, entropy = example_metrics(curves), annotation_entropy(curves.counts)
    rho = spearman(entropy, metrics.aulc)
    return {
        "examples": len(curves),
        "labels": len(curves.labels),
        "points": len(curves.steps),
        "aulc_mean": _mean(metrics.aulc[np.isfinite(metrics.aulc)]),
        "learned": learned.learned,
        "learned_why": learned.why,
        "unlearned_share": float("nan") if nothing else metrics.unlearning.share,
        "unlearning_defined": 0 if nothing else int(metrics.unlearning.defined.sum()),
        "entropy_mean": _mean(entropy[np.isfinite(entropy)]),
        "entropy_known": int(np.isfinite(entropy).sum()),
        "rho": rho.rho,
        "rho_n": rho.n,
    }


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else float("nan")
