"""`dissensus import`: what it says, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dissensus import exchange
from dissensus.cli.app import app
from dissensus.errors import DissensusError
from dissensus.exchange import read_cartography
from dissensus.metrics import aulc
from dissensus.store import CurvesWriter, load_curves
from exchange.recorded import write_aum, write_epochs


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, args)])


def refused(*args: object) -> str:
    """What a command that must be refused says: exit code 2, nothing on standard output, no traceback."""
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files as well."""
    return sorted(path.name for path in folder.iterdir())


def test_cartography(tmp_path: Path) -> None:
    run, out = write_epochs(tmp_path / "run"), tmp_path / "store"
    result = cli("cartography", run, "--out", out, "--steps-per-epoch", 10, "--labels", "e, n, c")
    assert result.exit_code == 0, result.output
    assert "3 examples, 3 labels, 3 tracking points" in result.stdout
    assert "no annotations were given" in result.stdout
    curves = load_curves(out)
    assert curves.labels == ("e", "n", "c")
    assert curves.steps.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(aulc(curves), aulc(read_cartography(run).curves))
    assert names(tmp_path) == ["run", "store"]


def test_aum_with_annotations_as_json(tmp_path: Path) -> None:
    updates = [
        {"a": ([2.0, 0.0], 0), "b": ([0.0, 0.0], 1), "c": ([0.0, 1.0], 0)},
        {"a": ([3.0, 0.0], 0), "b": ([0.0, 1.0], 1), "c": ([0.0, 2.0], 0)},
    ]
    write_aum(tmp_path / "run", updates)
    table = tmp_path / "answers.csv"
    table.write_text("id,annotator1,annotator2,annotator3,annotator4\na,0,0,0,0\nb,1,1,1,0\nc,0,0,1,1\n")
    result = cli("aum", tmp_path / "run", "--out", tmp_path / "store", "--annotations", table, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    # Entropy rises from a to b (3 of 4) to c (2 of 4); so does the area: margins 2, 3; 0, 1; -1, -2.
    assert (said["examples"], said["labels"], said["points"]) == (3, 2, 2)
    assert said["rho"] == pytest.approx(1)
    assert said["entropy_known"] == 3
    assert said["entropy_mean"] == pytest.approx((0 + 0.811278 + 1) / 3, abs=1e-6)
    # c alone ends above its start: one of three.
    assert said["unlearned_share"] == pytest.approx(1 / 3)
    assert any("lower bounds" in line for line in said["notes"])
    assert load_curves(tmp_path / "store").counts.tolist() == [[4, 0], [1, 3], [2, 2]]


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "store"
    run = write_epochs(tmp_path / "run", [[("a", [1.0, 0.0], 5)]])
    assert "'gold' is 5" in refused("cartography", run, "--out", out)
    assert "holds no dynamics_epoch_0.jsonl" in refused("cartography", tmp_path, "--out", out)
    assert "does not exist" in refused("aum", tmp_path / "none.csv", "--out", out)
    good = write_epochs(tmp_path / "good")
    assert "does not exist" in refused(
        "cartography", good, "--out", out, "--annotations", tmp_path / "none.csv"
    )
    assert "expected 3 different names" in refused("cartography", good, "--out", out, "--labels", "a,a,b")
    assert names(tmp_path) == ["good", "run"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    good, out = write_epochs(tmp_path / "good"), tmp_path / "store"
    out.mkdir()
    assert cli("cartography", good, "--out", out).exit_code == 0  # an empty one is taken
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "already holds something" in refused("cartography", good, "--out", out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write_epochs(tmp_path / "good")
    own = CurvesWriter.write

    def full(self: CurvesWriter, step: int, *args: object, **kwargs: object) -> None:
        if step == 3:
            raise OSError(28, "No space left on device")
        own(self, step, *args, **kwargs)

    monkeypatch.setattr(CurvesWriter, "write", full)
    assert "No space left on device" in refused("cartography", good, "--out", tmp_path / "store")
    assert names(tmp_path) == ["good"]


@pytest.mark.parametrize("tool", ["cartography", "aum"])
def test_rubbish_is_an_error_in_words(tmp_path: Path, tool: str) -> None:
    """Bytes drawn at random, and good files cut or spoiled at random places: read, or refused, but never a crash."""
    rng = np.random.default_rng(0)
    good = b'{"guid":1,"logits_epoch_0":[1.0,2.0],"gold":0}\n' * 2
    if tool == "aum":
        header = b"sample_id,num_measurements,target_logit,target_val,other_logit,other_val,margin,aum\n"
        good = header + b"a,1,0,1.0,1,0.0,1.0,1.0\nb,1,1,1.0,0,0.0,1.0,1.0\n"
    file = tmp_path / ("full_aum_records.csv" if tool == "aum" else "dynamics_epoch_0.jsonl")
    read = exchange.read_aum if tool == "aum" else exchange.read_cartography
    complaints = []
    for trial in range(300):
        spoiled = bytearray(rng.bytes(60) if trial % 3 == 0 else good)
        if trial % 3 == 1:
            spoiled = spoiled[: rng.integers(len(spoiled))]
        for _ in range(trial % 4):
            if spoiled:
                spoiled[rng.integers(len(spoiled))] = rng.integers(256)
        file.write_bytes(spoiled)
        try:
            read(tmp_path)
        except DissensusError as error:
            complaints.append(str(error))
    assert len(complaints) > 200
    assert all(str(tmp_path) in complaint for complaint in complaints)
