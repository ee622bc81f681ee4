"""The checker of layers sees each way in which one module can come to import another, and passes what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from import_graph import OPENS_FILES, ImportGraph, Rule

# A small package that keeps the rules below; each case breaks one of them by replacing one file.
KEPT = {
    "__init__.py": "from .curves import load",
    "curves.py": """
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy.linalg
if TYPE_CHECKING:
    import torch
def load(path): ...
""",
    "metrics/__init__.py": "from pkg.metrics.aulc import aulc",
    "metrics/aulc.py": "from pkg import curves",
    "train/__init__.py": "",
    "train/loop.py": "import torch\nfrom ..curves import load",
    "cli.py": "def run():\n    from pkg.train import loop\n    import torch",
}
RULES = (
    Rule("curves", never=("torch",)),
    Rule("metrics", never=("torch", ".train", OPENS_FILES), only=("metrics", "curves")),
    Rule("train", never=(".metrics",)),
    Rule("cli", eager=("torch", ".train")),
)


def _tree(folder: Path, files: dict[str, str]) -> ImportGraph:
    for name, source in files.items():
        path = folder / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return ImportGraph.read(folder / "pkg")


def test_a_tree_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    assert _tree(tmp_path, KEPT).violations(RULES) == []


def test_exempt_modules_are_not_bound(tmp_path: Path) -> None:
    graph = _tree(tmp_path, KEPT)
    broken = ["importing pkg.train.loop loads torch: pkg.train.loop -> torch"]
    assert graph.violations([Rule("", eager=("torch",))]) == broken
    assert graph.violations([Rule("", eager=("torch",), exempt=("train",))]) == []


def test_a_name_that_only_begins_alike_is_another_module(tmp_path: Path) -> None:
    graph = _tree(tmp_path, {**KEPT, "curves.py": "import torchmetrics"})
    assert graph.violations([Rule("curves", never=("torch",))]) == []


@pytest.mark.parametrize(
    ("file", "source", "complaints"),
    [
        pytest.param(
            "curves.py",
            "import torch.nn as nn",
            # Not curves alone: the root imports curves, and every module's import runs the root.
            [
                "pkg.curves:1 imports torch.nn; it must not import torch",
                "importing pkg.curves loads torch: pkg.curves -> torch.nn",
                "importing pkg.metrics loads torch: pkg.metrics -> pkg.metrics.aulc -> pkg.curves -> torch.nn",
                "importing pkg.metrics.aulc loads torch: pkg.metrics.aulc -> pkg.curves -> torch.nn",
                "importing pkg.cli loads torch: pkg.cli -> pkg -> pkg.curves -> torch.nn",
            ],
            id="absolute",
        ),
        pytest.param(
            "curves.py",
            "def load(path):\n    from torch import nn",
            ["pkg.curves:2 imports torch; it must not import torch"],
            id="inside-a-function",
        ),
        pytest.param(
            "curves.py",
            "import importlib\ndef load(path):\n    return importlib.import_module('torch')",
            ["pkg.curves:3 imports torch; it must not import torch"],
            id="by-name",
        ),
        pytest.param(
            "train/__init__.py",
            "from .. import metrics",
            [
                "pkg.train:1 imports pkg.metrics; it must not import .metrics",
                "importing pkg.train loads .metrics: pkg.train -> pkg.metrics",
            ],
            id="relative",
        ),
        pytest.param(
            "curves.py",
            "from pkg.metrics import aulc",
            ["importing pkg.train.loop loads .metrics: pkg.train.loop -> pkg.curves -> pkg.metrics.aulc"],
            id="through-another-module",
        ),
        pytest.param(
            "metrics/aulc.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.cli import run",
            ["pkg.metrics.aulc:3 imports pkg.cli; it may import only ['metrics', 'curves']"],
            id="own-module-for-typing",
        ),
        pytest.param(
            "metrics/aulc.py",
            "def aulc(path):\n    return [line for line in open(path)]",
            ["pkg.metrics.aulc:2 imports builtins.open; it must not import builtins.open"],
            id="opens-a-file",
        ),
        pytest.param(
            "cli.py",
            "from pkg.train import loop",
            [
                "importing pkg.cli loads torch: pkg.cli -> pkg.train.loop -> torch",
                "importing pkg.cli loads .train: pkg.cli -> pkg.train.loop",
            ],
            id="eager-where-lazy-is-allowed",
        ),
    ],
)
def test_each_kind_of_breach_is_seen(tmp_path: Path, file: str, source: str, complaints: list[str]) -> None:
    assert _tree(tmp_path, {**KEPT, file: source}).violations(RULES) == complaints


def test_a_circle_is_found_whatever_the_kind_of_its_imports(tmp_path: Path) -> None:
    assert _tree(tmp_path, KEPT).circles() == []
    through_a_third = {
        "curves.py": "def load(path):\n    from pkg.store import files",
        "store/files.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.train import loop",
    }
    line, *_ = _tree(tmp_path, {**KEPT, **through_a_third}).circles()
    assert line == (
        "pkg.curves:2 imports pkg.store.files; pkg.store.files:3 imports pkg.train.loop; "
        "pkg.train.loop:2 imports pkg.curves"
    )


def test_modules_of_one_package_stand_in_no_circle_either(tmp_path: Path) -> None:
    inside = {
        "train/loop.py": "from pkg.train import step",
        "train/step.py": "def f():\n    import pkg.train.loop",
    }
    assert _tree(tmp_path, {**KEPT, **inside}).circles() == [
        "pkg.train.loop:1 imports pkg.train.step; pkg.train.step:2 imports pkg.train.loop"
    ]
