"""Command `merge`: new annotations joined to those of a study's data set, as one table for the next study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import DataDir, DatasetName, Folder
from dissensus.cli.output import note, number, say, verbatim
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.exchange.merging import Merged


def merge(
    folder: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="New annotations: an export of the tool, or a table with item_id and annotation.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", dir_okay=False, help="The joined table (JSONL); default: DIR/annotations.jsonl."
        ),
    ] = None,
    dataset: DatasetName = None,
    data_dir: DataDir = None,
) -> None:
    """Join new annotations to the old ones, by item and annotator.

    Nothing is lost: an annotator's new answer stands beside the old one, in a round of its own. Where the joined table
    is there already, the new answers are joined to it. The same file twice adds nothing.
    """
    from dissensus.exchange import merged_table, merging
    from dissensus.files import write_atomic
    from dissensus.remote import is_url, study_folder
    from dissensus.study.folder import StudyFolder

    if out is None and is_url(folder):
        raise SpecError(f"{folder} is a URL; say where the joined table goes with --out FILE")
    place = out if out is not None else Path(folder) / "annotations.jsonl"
    with study_folder(folder, curves=False) as local:
        study = StudyFolder(local).spec
    by_name = {one.name: one for one in study.datasets}
    if dataset is None and len(by_name) > 1:
        raise SpecError(
            f"the study has {len(by_name)} data sets: say which the annotations are of, with --dataset, one of "
            f"{', '.join(by_name)}"
        )
    if dataset is not None and dataset not in by_name:
        raise SpecError(f"the study has no data set {dataset!r}; it has: {', '.join(by_name)}")
    spec = by_name[dataset] if dataset is not None else next(iter(by_name.values()))
    old = merging.old_annotations(spec.tracked, data_dir=data_dir)
    if place.exists():
        old = merged_table.earlier_merge(old, place)
        say(f"{place} is there: the new answers are joined to its {len(old.answers)}")
    for line in old.notes:
        note(f"note: {line}")
    merged = merging.merge(old, file)
    for line in merged.notes:
        note(f"note: {file.name}: {line}")
    write_atomic(place, merged_table.merged_text(merged))
    if merged.unknown:
        aside = place.with_name(f"{place.name.removesuffix('.jsonl')}.unknown.jsonl")
        write_atomic(aside, merged_table.unknown_text(merged))
        names = list(dict.fromkeys(answer.item for answer in merged.unknown))
        note(
            f"warning: {len(merged.unknown)} answers are to {len(names)} items that {spec.name} does not have "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); they are kept aside in {aside}"
        )
    _print(merged, spec.name, file, place)


def _print(merged: Merged, dataset: str, file: Path, place: Path) -> None:
    from dissensus.exchange.merged_table import tracked_block

    if merged.added:
        again = (
            f", {merged.again} of them by an annotator who had answered the item before"
            if merged.again
            else ""
        )
        say(
            f"{file.name}: {merged.added} new answers to {len(merged.touched)} of {len(merged.after)} items, as round "
            f"{merged.round}{again}"
        )
    else:
        say(f"{file.name}: nothing new")
    if merged.known:
        say(f"{merged.known} answers were there already and are not counted again")
    before, after = merged.entropy
    say(f"mean annotation entropy: {number(before, 3)} bits before, {number(after, 3)} after")
    if merged.touched:
        before, after = merged.entropy_touched
        say(
            f"of the {len(merged.touched)} items with new answers: {number(before, 3)} before, {number(after, 3)} after"
        )
    say(f"{len(merged.answers)} answers: {place}")
    say(f"next: in the study, let the data set {dataset} read them, and run it under another name:")
    verbatim(tracked_block(merged.old, place).rstrip("\n"))
