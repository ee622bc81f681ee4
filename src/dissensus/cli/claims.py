"""Command `claims`: decides the claims of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import FOLDER, Json
from dissensus.cli.output import emit_json, interval, next_step, note, number, say, table
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dissensus.analysis.claims import ClaimVerdict, Part


def claims(
    folder: Annotated[str | None, FOLDER] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Show every number that a verdict rests on, with its tests.")
    ] = False,
    simulate: Annotated[
        int | None,
        typer.Option(
            "--simulate",
            metavar="N",
            min=1,
            help="Instead of a study's: how often the verdicts are false, on N simulated studies of each world.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide the claims of arXiv 2604.16332 from a study's stored curves.

    Each is supported, contradicted, inconclusive or not testable here. DIR/analysis keeps the verdicts with the
    numbers and the cells that they rest on (claims.json, claims.csv), and beside them what the claims hang on:
    other choices (sensitivity), fewer annotators, label noise. The report then shows them. No torch is needed.
    """
    if (folder is None) == (simulate is None):
        raise SpecError("give a study's folder, or --simulate N for the verdicts' own error rates")
    if simulate is not None:
        _simulated(simulate, as_json)
        return
    assert folder is not None
    from dissensus.analysis.across import look_across
    from dissensus.analysis.claims.tables import claims_json
    from dissensus.remote import study_folder

    with study_folder(folder) as local:
        across = look_across(local, on_table=lambda name: note(f"{name.replace('_', ' ')} ..."))
    if as_json:
        emit_json(claims_json(across.claims))
        return
    show_claims(across.claims, parts=parts)
    say(f"from {across.cells} of {across.planned} cells; all numbers are in {folder.rstrip('/')}/analysis")
    next_step(("report", folder))


def show_claims(verdicts: Sequence[ClaimVerdict], *, parts: bool = False) -> None:
    """Print verdicts, each with its finding."""
    for claim in verdicts:
        say(f"{claim.claim}: {claim.verdict}. {claim.says}")
        say(f"  found: {claim.finding}")
        say(f"  would change it: {claim.would_change}")
        for limit in claim.limits:
            say(f"  bear in mind: {limit}")
        if parts:
            for question in claim.questions:
                beside = "" if question.decides else " (beside the verdict)"
                say(f"  {question.name}{beside}: {question.verdict}. {question.asks}")
                if question.note:
                    say(f"    {question.note}")
                if question.undefined:
                    say(f"    not judged: {'; '.join(question.undefined)}")
                for part in question.parts:
                    if part.note:
                        say(f"    {part.name}: {part.note}")
                if not question.parts:
                    continue
                table(
                    ("part", "value", "interval", "p (Holm)", "p (BH)", "seeds", "clusters", "cells"),
                    (_row(part) for part in question.parts),
                    numeric=("value", "p (Holm)", "p (BH)", "seeds", "clusters", "cells"),
                )
        say()


def _row(part: Part) -> tuple[str, ...]:
    return (
        part.name,
        number(part.value, 3),
        interval(part.low, part.high, 3),
        f"{part.p_holm:.2g}",
        f"{part.p_bh:.2g}",
        str(part.seeds),
        str(part.clusters),
        str(len(part.cells)),
    )


def _simulated(studies: int, as_json: bool) -> None:
    from dataclasses import asdict

    from dissensus.analysis.claims.trial import LEVEL, try_verdicts
    from dissensus.analysis.claims.worlds import WORLDS

    def show_progress(world: str, done: int) -> None:
        if done % 20 == 0 or done == studies:
            note(f"{world}: {done} of {studies} studies")

    rates = try_verdicts(studies, on_study=show_progress)
    if as_json:
        emit_json([asdict(rate) for rate in rates])
        return
    table(
        ("world", "claim", "true", "right", "false", "undecided", "not testable"),
        (
            (
                rate.world,
                rate.claim,
                "yes" if rate.true else "no",
                f"{rate.right:.1%}",
                f"{rate.false:.1%}",
                f"{max(0.0, 1 - rate.right - rate.false - rate.untested):.1%}",
                f"{rate.untested:.1%}",
            )
            for rate in rates
        ),
        numeric=("right", "false", "undecided", "not testable"),
    )
    for name in dict.fromkeys(rate.world for rate in rates):
        say(f"{name}: {WORLDS[name].says}")
    worst = max(rates, key=lambda rate: rate.false)
    beyond = [f"{rate.claim} in {rate.world}" for rate in rates if not rate.within]
    say(
        f"{studies} studies a world; the largest share of false verdicts is {worst.false:.1%} ({worst.claim} in "
        f"{worst.world}); the rule promises {LEVEL:.1%} at most"
        + (f"; more than chance allows: {'; '.join(beyond)}" if beyond else "")
    )
