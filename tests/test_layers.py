"""The table of layers in the design, held against the imports in the code.

The checker is `import_graph.py`; `test_import_graph.py` shows that it can fail.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import dissensus
from import_graph import OPENS_FILES, ImportGraph, Rule

MODELLING = ("torch", "transformers", "peft", "safetensors", "accelerate", "tokenizers")
CLIENTS = ("fsspec", "s3fs", "gcsfs", "botocore", "aiobotocore", "aiohttp")
OPTIONAL = (
    *MODELLING,
    "gguf",
    "datasets",
    "huggingface_hub",
    "cleanlab",
    "crowdkit",
    "sklearn",
    "pandas",
    "polars",
    "xarray",
    "duckdb",
    "ray",
    "submitit",
    "bitsandbytes",
    *CLIENTS,
)
FILES = ("pyarrow", "pathlib", "io", "csv", "gzip", "shutil", "tempfile", "sqlite3", OPENS_FILES)
PLOTTING = ("matplotlib", ".report")
# What starts slowly enough to be felt before a command prints its first line.
SLOW = ("scipy", "matplotlib")

READING = (".metrics", ".stats", ".analysis", ".report", ".plot", ".serve")
"""What is made of stored curves. Nothing that trains knows of it."""

# One rule a row of the table, in its order. A dot in front means a module of dissensus.
RULES = (
    Rule("errors", only=()),
    Rule("files", only=("errors",)),
    Rule("seeds", only=()),
    Rule("threads", only=()),
    Rule("display", only=()),
    Rule("wording", only=()),
    Rule("config", only=("errors", "config"), never=MODELLING),
    Rule("data", never=(*MODELLING, ".train", ".record", ".models", *READING)),
    Rule("data.agreement", never=FILES),
    Rule("data.ordinal", never=FILES),
    *(
        Rule(f"data.annotators.{name}", never=FILES)
        for name in ("alpha", "flags", "information", "meetings", "rest")
    ),
    Rule("models", never=(*READING, ".store", ".record", ".train", ".study", ".run")),
    Rule("models.registry", never=MODELLING),
    Rule("curves", never=MODELLING),
    Rule("store", never=(*MODELLING, ".remote")),
    Rule("open", never=(*MODELLING, ".train", ".run", ".study", *READING)),
    Rule("remote", only=("errors", "files", "store", "remote"), never=MODELLING, eager=CLIENTS),
    Rule("record", never=(*READING, ".train", ".study", ".run")),
    Rule("record.free", eager=MODELLING),
    Rule("record.free_epoch", eager=MODELLING),
    Rule("record.free_resume", never=MODELLING),
    Rule("train", never=(*READING, ".study", ".run")),
    Rule("metrics", never=(*MODELLING, *PLOTTING, *FILES, ".train", ".record", ".store")),
    Rule("stats", never=(*MODELLING, *PLOTTING, *FILES, ".train", ".record", ".store")),
    Rule("study", never=(*MODELLING, ".train", ".record", ".models", ".run", *READING)),
    Rule("run", never=READING),
    Rule("run.runner", never=MODELLING),
    Rule("run.engines", never=(*MODELLING, ".models", ".train", ".record")),
    Rule("run.launch", eager=MODELLING),
    Rule("run.destination", never=MODELLING),
    Rule("run.plan.plan", never=MODELLING),
    Rule("run.messages", never=MODELLING),
    Rule("analysis", never=(*MODELLING, ".train", ".record", ".models", ".run", ".report")),
    Rule("report", never=(*MODELLING, ".train", ".record", ".models", ".run")),
    Rule("plot", never=(*MODELLING, ".train", ".record", ".models", ".run")),
    Rule("serve", never=(*MODELLING, *PLOTTING, ".train", ".record", ".models", ".run")),
    Rule(
        "live", never=(*MODELLING, *PLOTTING, *FILES, ".train", ".record", ".study", ".run", ".integrations")
    ),
    Rule("live.rise", only=()),
    Rule(
        "live.trackers",
        only=("errors", "live"),
        never=(*MODELLING, "wandb", "tensorboard", "mlflow", "trackio"),
    ),
    Rule("integrations", never=(".study", ".run", ".analysis", ".report")),
    Rule("exchange", never=(*MODELLING, ".train", ".record", ".study", ".run", ".analysis", ".report")),
    Rule(
        "cli",
        eager=(
            *(*OPTIONAL, *SLOW),
            *(".train", ".record", ".models", ".study", ".run", ".analysis", ".report"),
            *(".metrics", ".stats", ".exchange", ".plot", ".serve"),
        ),
    ),
    # Beyond the table: what an extra brings may be missing, so nothing outside training loads it on import.
    Rule("", eager=OPTIONAL, exempt=("models", "record", "train", "integrations")),
    # Plotting is the report's and the plots'; it costs most of a second, and a font cache on the first day.
    Rule("", eager=("matplotlib",), exempt=("report", "plot")),
)

# Modules of the table that later work brings. A rule binds its module as soon as it is there.
NOT_YET: set[str] = set()


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return ImportGraph.read(Path(dissensus.__file__).parent)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.module or f"everything-{rule.eager[-1]}")
def test_the_code_keeps_the_table_of_layers(graph: ImportGraph, rule: Rule) -> None:
    assert graph.violations([rule]) == []


def test_no_two_packages_or_modules_import_each_other(graph: ImportGraph) -> None:
    assert graph.circles() == []


def test_what_runs_a_study_and_what_reads_it_stand_apart(graph: ImportGraph) -> None:
    between = graph.between_packages()
    apart = ("run", "analysis", "report")
    assert not [(a, b) for a, b in between if a in apart and b in apart and (a, b) != ("report", "analysis")]
    assert not [pair for pair in between if pair[0] == "study" and pair[1] in ("run", "analysis")]


def test_errors_needs_nothing(graph: ImportGraph) -> None:
    assert [imported.name for imported in graph.imports["dissensus.errors"]] == ["__future__"]


def test_every_rule_binds_a_module(graph: ImportGraph) -> None:
    """A renamed module would leave its rule without effect; a finished one must leave NOT_YET."""
    unbound = {rule.module for rule in RULES if not graph.below(rule.module)}
    assert unbound == NOT_YET
