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

# One rule a row of the table, in its order. A dot in front means a module of dissensus.
RULES = (
    Rule("errors", only=()),
    Rule("config", only=("errors", "config"), never=MODELLING),
    Rule("data.annotations", never=MODELLING),
    Rule("data.sources", never=(".train", ".metrics")),
    Rule("data.noise", never=MODELLING),
    Rule("measures", never=(*MODELLING, *FILES)),
    Rule("models", never=(".metrics", ".study")),
    Rule("probes", never=(".metrics", ".report", ".study")),
    Rule("train.methods", never=(".metrics", ".curves", ".store")),
    Rule("train.recorder", never=(".metrics", ".report")),
    Rule("train.tracking", never=(".metrics", ".report")),
    Rule("train.merging", never=(".metrics", ".report")),
    Rule("train.shared_states", never=(".metrics", ".report")),
    Rule("train.parallel", never=(".metrics", ".report", ".study")),
    Rule("train.sharded", never=(".metrics", ".report", ".study")),
    Rule("train.ranks", never=(".metrics", ".report", ".study")),
    Rule("train.sharing", never=(".metrics", ".report")),
    Rule("train.free", never=(".metrics", ".report", ".study"), eager=MODELLING),
    Rule("train.free_epoch", never=(".metrics", ".report", ".study"), eager=MODELLING),
    Rule("train.free_resume", never=(*MODELLING, ".metrics", ".report", ".study")),
    Rule("train.loop", never=(".metrics", ".stats", ".study")),
    Rule("train.fused", never=(".metrics", ".stats", ".study")),
    Rule("train.fused_layers", never=(".metrics", ".stats", ".study")),
    Rule("live_rise", only=()),
    Rule("live", never=(*MODELLING, *PLOTTING, *FILES, ".train", ".study", ".integrations")),
    Rule(
        "live_trackers",
        only=("errors", "live"),
        never=(*MODELLING, "wandb", "tensorboard", "mlflow", "trackio"),
    ),
    Rule("integrations", never=(".study", ".report")),
    Rule("curves", never=MODELLING),
    Rule("store", never=MODELLING),
    Rule(
        "storage",
        only=("errors", "files", "cache", "store", "storage"),
        never=(*MODELLING, ".train", ".study", ".metrics", ".report"),
        eager=CLIENTS,
    ),
    Rule("metrics", never=(*MODELLING, *PLOTTING, *FILES)),
    Rule("stats", never=(*MODELLING, *PLOTTING, *FILES, ".train")),
    Rule("exchange", never=(*MODELLING, ".train", ".study", ".report")),
    Rule("study.grid", never=MODELLING),
    Rule("study.runner", never=(".metrics", ".report")),
    Rule("study.engines", never=(*MODELLING, ".metrics", ".report", ".models", ".train")),
    Rule("study.ranks", never=(".metrics", ".report"), eager=MODELLING),
    Rule("study.cell_folder", never=MODELLING),
    Rule("study.home", never=(*MODELLING, ".metrics", ".report")),
    Rule("models.shapes", never=MODELLING),
    Rule("study.planning.plan", never=MODELLING),
    Rule("study.planning.packing", never=MODELLING),
    Rule("study.planning.tasks", never=(".metrics", ".report")),
    Rule("study.planning.approximate", never=(".metrics", ".report")),
    Rule("study.planning.calibration", never=(".metrics", ".report")),
    Rule("study.analysis", never=(*MODELLING, ".train")),
    Rule("study.claims", never=(*MODELLING, ".train")),
    Rule("study.across", never=(*MODELLING, ".train")),
    Rule("study.annotators", never=(*MODELLING, ".train")),
    Rule("study.sensitivity", never=(*MODELLING, ".train")),
    Rule("study.noise", never=(*MODELLING, ".train")),
    Rule("report", never=(*MODELLING, ".train", ".study.runner")),
    Rule("threads", only=(), never=MODELLING),
    Rule(
        "cli",
        eager=(*OPTIONAL, *SLOW, ".train", ".models", ".study", ".report", ".metrics", ".stats", ".exchange"),
    ),
    # Beyond the table: what an extra brings may be missing, so nothing outside training loads it on import.
    # (The benchmark times training, and is imported by its command alone.)
    Rule("", eager=OPTIONAL, exempt=("models", "probes", "train", "integrations", "bench")),
    # Plotting is the report's; it costs most of a second, and a font cache on the first day.
    Rule("", eager=("matplotlib",), exempt=("report",)),
)

# Modules of the table that later work brings. A rule binds its module as soon as it is there.
NOT_YET: set[str] = set()


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return ImportGraph.read(Path(dissensus.__file__).parent)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.module or f"everything-{rule.eager[-1]}")
def test_the_code_keeps_the_table_of_layers(graph: ImportGraph, rule: Rule) -> None:
    assert graph.violations([rule]) == []


def test_errors_needs_nothing(graph: ImportGraph) -> None:
    assert [imported.name for imported in graph.imports["dissensus.errors"]] == ["__future__"]


def test_every_rule_binds_a_module(graph: ImportGraph) -> None:
    """A renamed module would leave its rule without effect; a finished one must leave NOT_YET."""
    unbound = {rule.module for rule in RULES if not graph.below(rule.module)}
    assert unbound == NOT_YET
