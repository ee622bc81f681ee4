"""The notebook under `examples/`: its cells run from a recording to a figure, and are kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dissensus import load_curves
from processes import PATIENCE

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "notebook.ipynb"

# What a kernel does: each cell in one namespace, the value of a last expression shown as HTML where it can be.
KERNEL = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]), f"cell {number}")
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        html = getattr(value, "_repr_html_", lambda: "")()
        print(number, type(value).__name__, len(repr(value)), len(html or ""))
"""


def cells() -> list[dict[str, object]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_valid_and_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_notebook_goes_from_a_recording_to_a_figure(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    environment = {
        **os.environ,
        "DISSENSUS_MODEL": str(tiny_encoder_dir),
        "DISSENSUS_STEPS": "5",
        "MPLBACKEND": "agg",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", KERNEL, str(NOTEBOOK)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    shown = {line.split()[1]: line.split()[2:] for line in done.stdout.splitlines() if line[:1].isdigit()}
    assert {"AnnotatedDataset", "CurveRecorder", "Curves", "ExampleCurve", "Axes"} <= shown.keys()
    for kind in ("AnnotatedDataset", "CurveRecorder", "Curves", "ExampleCurve"):
        text, html = map(int, shown[kind])
        assert text < 400
        assert 0 < html < 5000
    assert len(load_curves(tmp_path / "runs" / "notebook")) == 200
    assert (tmp_path / "runs" / "notebook" / "figure.pdf").read_bytes().startswith(b"%PDF")
