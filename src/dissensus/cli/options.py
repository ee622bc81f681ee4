"""Options and arguments that several commands share, and the options of a run as `run` hands them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dissensus.config import When
    from dissensus.run.engines.base import Engine

FOLDER = typer.Argument(metavar="DIR", help="A study's folder, as `run` writes it, or its URL.")
Folder = Annotated[str, FOLDER]
Folders = Annotated[
    list[str], typer.Argument(metavar="DIR...", help="Folders of studies, as `run` writes them, or URLs.")
]
StudyOrStore = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="A study's folder or its URL, or the folder of a single recording (a curves store).",
    ),
]
Study = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A built-in name, a YAML file, or the folder of a study to resume."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="KEY=VALUE[,VALUE]",
        help="Only these cells; KEY: model, head, dataset, method, regime or seed. May be repeated.",
    ),
]
Plan = Annotated[
    bool, typer.Option("--plan", help="Say what is left to do and how long it will take; run nothing.")
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        exists=True,
        file_okay=False,
        help="Where data files are looked up first; then DISSENSUS_DATA and the cache.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes at a time; default: one per core, as far as memory goes, and one on a GPU.",
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="Of a study with several data sets, this one."),
]
Fuse = Annotated[
    int | None,
    typer.Option(
        "--fuse",
        min=1,
        help="Most LoRA cells of a process, trained in one pass over one frozen model; default: 1.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of each worker; default: the cores, shared out."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="'cpu', 'cuda', 'cuda:1', ...; default: a GPU where there is one."),
]

ENGINE_HELP = "What the cells run on: local (this machine), ray or slurm."
EngineName = Annotated[
    str,
    typer.Option("--engine", help=ENGINE_HELP),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="Ray: the cluster, e.g. auto or ray://HOST:10001; default: RAY_ADDRESS, or local."
    ),
]
EngineOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="KEY=VALUE",
        help="Slurm: partition, account, qos, time (minutes), ...; Ray: wait=true. May be repeated.",
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries",
        min=0,
        help="Tries more for cells whose worker or machine died; default: 3, on this machine 0.",
    ),
]
QuotesOption = Annotated[
    str | None,
    typer.Option(
        "--quotes",
        metavar="N|all",
        help="Quote the text of N examples at most on the page, the others by id alone. Kept with the study.",
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """How cells are run, or how a plan takes them to be run; `run.runner.run_study` says what each means.

    Attributes:
        workers: jobs at a time.
        threads: of each worker.
        fuse: most cells of a job.
        device: torch device of every worker.
        data_dir: where data files are looked up first.
        only: the cells to run; None: all.
        engine: what the jobs run on; None: this machine.
    """

    workers: int | None = None
    threads: int | None = None
    fuse: int | None = None
    device: str | None = None
    data_dir: Path | None = None
    only: When | None = None
    engine: Engine | None = None
