"""Commands on data sets."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.columns import NamedColumns, column_options, columns_shown
from dissensus.cli.init import seen_from_here
from dissensus.cli.options import DataDir, Json
from dissensus.cli.output import (
    emit_json,
    moves,
    next_step,
    note,
    number,
    say,
    table,
    terminal_width,
    verbatim,
)

if TYPE_CHECKING:
    from dissensus.data.check import DataReport

_SHOWN = 5

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the published data sets that dissensus knows, and where each is on this machine."""
    from dissensus.config.sources import SOURCES
    from dissensus.data.pull import list_published

    listings = list_published(data_dir)
    if as_json:
        emit_json([{**asdict(s.data), "found": str(s.folder) if s.folder else None} for s in listings])
        return
    table(
        ("data set", "what", "licence", "here"),
        ((s.data.name, s.data.what, s.data.licence, s.folder or "no") for s in listings),
    )
    say("The simulated panel (source: simulated) needs no file.")
    brought = [name for name in SOURCES.names() if name not in SOURCES.builtin]
    if brought:
        say(f"Installed packages bring further sources: {', '.join(brought)}. `data show NAME` loads one.")
    if any(s.folder is None for s in listings):
        next_step("dissensus data pull NAME")
    else:
        next_step("dissensus studies list")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME")], data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Show a published data set: licence, citation, addresses, and where it is on this machine."""
    from dissensus.config import nearest
    from dissensus.data.pull import list_published
    from dissensus.errors import DataError

    sources = {s.data.name: s for s in list_published(data_dir, named=name)}
    if name not in sources:
        raise DataError(f"no data set {name!r} is registered; {nearest(name, sources)}")
    source, local_path = sources[name].data, sources[name].folder
    if as_json:
        emit_json({**asdict(source), "found": str(local_path) if local_path else None})
        return
    say(f"{source.name}: {source.what}")
    say(f"licence:   {source.licence}")
    say(f"cite:      {source.citation}")
    say(f"homepage:  {source.homepage}")
    for file in source.files:
        say(f"file:      {file.url}")
    say(f"here:      {local_path or f'no; fetch it with: dissensus data pull {name}'}")
    if local_path is None:
        next_step(("data", "pull", name))


@app.command()
def pull(names: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Fetch published data sets, verify them, and keep them in the cache."""
    from dissensus.data.pull import pull as fetch

    for name in names:
        with _Download() as progress:
            folder = fetch(name, progress=progress)
        say(f"{name}: {folder}")
    next_step("dissensus studies list")


@app.command()
@column_options
def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A data file in a known format, a plain table, or a study (YAML), all of its data.",
        ),
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    columns: NamedColumns,
) -> None:
    """Say what is in a data file: rows, labels, annotators, entropy, and what may be wrong with it.

    Of a data file it also prints the `tracked:` block of a study that reads it so.
    """
    from dissensus.data.check import check_dataset
    from dissensus.data.sniff import load_recognised, recognise
    from dissensus.study.drafting import tracked_lines

    if file.suffix.lower() in (".yaml", ".yml"):
        _check_study(file, columns, data_dir, as_json)
        return
    with columns_shown("data check", file):
        seen = recognise(file, columns.named)
        report = check_dataset(load_recognised(seen, data_dir=data_dir))
    spec = seen_from_here(seen.spec, file)
    if as_json:
        emit_json(
            {
                **asdict(report),
                "tracked": {"source": spec.source, **spec.model_dump(exclude_defaults=True, mode="json")},
            }
        )
        return
    _print_report(report, (str(file), *columns.words))
    say("In a study:")
    for line in tracked_lines(spec):
        verbatim(f"  {line}")
    next_step(("init", str(file), *columns.words))


def _check_study(file: Path, columns: NamedColumns, data_dir: Path | None, as_json: bool) -> None:
    """Each source of a study's data sets, once; what is wrong with one is said after the others."""
    from dissensus.config import StudySpec
    from dissensus.data.check import check_dataset
    from dissensus.data.sources import load_source
    from dissensus.errors import DataError, SpecError

    if columns.words:
        raise SpecError(
            f"{file} is a study, and names its columns itself; {columns.words[0]} is for a data file"
        )
    reports: list[tuple[str, DataReport]] = []
    wrong: list[str] = []
    for dataset in StudySpec.from_yaml(file).datasets:
        for part, source in (("tracked", dataset.tracked), ("train", dataset.train)):
            if source is None:
                continue
            try:
                reports.append(
                    (f"{dataset.name}, {part}", check_dataset(load_source(source, data_dir=data_dir)))
                )
            except DataError as error:
                wrong.append(f"{dataset.name}, {part}: {error}")
    if as_json and not wrong:
        emit_json([{"of": of, **asdict(report)} for of, report in reports])
        return
    if not as_json:
        for of, report in reports:
            say(f"data set {of}:")
            _print_report(report)
            say()
    if wrong:
        raise DataError("\n".join(wrong))
    next_step(("run", str(file), "--plan"))


@app.command()
@column_options
def annotators(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A data file with annotators by name, or counts.")
    ],
    as_json: Json = False,
    *,
    columns: NamedColumns,
) -> None:
    """Say who annotated: agreement, competence, who looks like noise, and what entropy is without them."""
    from dissensus.cli.annotators import print_annotators
    from dissensus.data.sniff import load_recognised, recognise

    with columns_shown("data annotators", file):
        seen = recognise(file, columns.named)
        dataset = load_recognised(seen)
    print_annotators(dataset, file=file, as_json=as_json)


class _Download:
    """Shows the bytes of a download, on a terminal only."""

    def __enter__(self) -> _Download:
        self._shown = False
        return self

    def __call__(self, url: str, done: int, total: int | None) -> None:
        """Take in that `done` bytes of `url` have come."""
        if moves(sys.stderr):
            of = f" of {total / 1e6:.1f}" if total else ""
            facts = f": {done / 1e6:.1f}{of} MB"
            room = (
                (terminal_width(sys.stderr) or 80) - len(facts) - 1
            )  # a line that is folded cannot be drawn anew
            sys.stderr.write(f"\r{url.rpartition('/')[2][: max(0, room)]}{facts}\x1b[K")
            sys.stderr.flush()
            self._shown = True

    def __exit__(self, *_: object) -> None:
        if self._shown:
            note("")


def _print_report(report: DataReport, read_by: Sequence[str] = ()) -> None:
    """Print it; `read_by`: the file and the options that read it."""
    say(f"{report.name}: {report.rows} rows; text fields: {', '.join(report.fields)}")
    for line in report.notes:
        say(f"  note: {line}")
    table(
        ("label", "gold", "share", "annotations", "share of annotations"),
        (
            (
                entry.label,
                entry.gold,
                number(entry.gold_share, 3),
                f"{entry.annotations:g}",
                number(entry.annotation_share, 3),
            )
            for entry in report.labels
        ),
        numeric=("gold", "share", "annotations", "share of annotations"),
    )
    if report.annotators is None:
        say("annotations: none, so no disagreement is known")
    else:
        low, middle, high = report.annotators
        named = f"; {report.named_annotators} annotators known by name" if report.named_annotators else ""
        say(f"annotations per item: {low:g} to {high:g}, median {middle:g}{named}")
        for sentence in (report.disagreement, *report.flagged[:_SHOWN]):
            if sentence:
                say(sentence)
        if len(report.flagged) > _SHOWN:
            say(f"{len(report.flagged) - _SHOWN} more annotators are flagged")
        if report.named_annotators and read_by:
            say(f"who annotated: {shlex.join(('dissensus', 'data', 'annotators', *read_by))}")
        if not math.isnan(report.dispersion):
            say(f"ordinal dispersion: mean {number(report.dispersion, 3)} of 1")
        say(f"annotation entropy: mean {number(report.entropy_mean, 3)} bits")
        most = max(report.entropy_histogram) or 1
        for k, items in enumerate(report.entropy_histogram):
            low, high = report.entropy_edges[k], report.entropy_edges[k + 1]
            say(f"  {low:4.2f} to {high:4.2f}  {items:6d}  {'#' * round(40 * items / most)}".rstrip())
    for count, problem, examples in (
        (report.without_annotations, "items without annotations", ()),
        (report.single_annotations, "items with one annotation, so that their entropy is 0", ()),
        (report.without_gold, "items without a gold label", ()),
        (report.tied, "items with a tie for the most frequent label", ()),
        (
            report.repeated_items,
            f"items share their text with another ({report.repeated_texts} texts; "
            f"{report.conflicting_texts} of them with different gold labels)",
            report.repeated_ids,
        ),
        (report.empty_texts, "items with an empty text", report.empty_ids),
        (report.rejected_gold, "items whose gold label most annotators reject", report.rejected_ids),
    ):
        if count:
            say(f"{count} {problem}" + (f", e.g. {', '.join(examples)}" if examples else ""))
