"""What a study's cells need is looked at before any worker starts, once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from annotation_panel import labelstudio
from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.data import assembly
from dissensus.errors import DataError, ModelError
from dissensus.run import checking
from dissensus.run.checking import check_inputs
from dissensus.run.engines.local import LocalEngine
from dissensus.run.runner import run_study
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import expand

HERE = Path(__file__).parent
ROWS = [{"text": f"text {n}", "gold": "no" if n % 3 else "yes", "a": "yes", "b": "no"} for n in range(12)]


@pytest.fixture(autouse=True)
def _no_data_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISSENSUS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study(tmp_path: Path, tiny_encoder_dir: Path) -> dict[str, Any]:
    """Two regimes, two seeds, two methods: eight cells over one file of 12 rows and a model folder."""
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "pool.jsonl").write_text(
        "".join(json.dumps(row | {"text": f"pool {n}"}) + "\n" for n, row in enumerate(ROWS))
    )
    model = shutil.copytree(tiny_encoder_dir, tmp_path / "model")
    columns = {"source": "table", "text": ["text"], "gold": "gold", "annotations": ["a", "b"]}
    return {
        "name": "mine",
        "models": [{"name": str(model)}],
        "datasets": [
            {
                "name": "table",
                "tracked": {**columns, "path": "t.jsonl"},
                "train": {**columns, "path": "pool.jsonl"},
            }
        ],
        "methods": [
            {"name": "full", "learning_rate": 1e-4},
            {"name": "lora", "rank": 2, "learning_rate": 1e-4},
        ],
        "regimes": ["held_out", "trained_on"],
        "seeds": [0, 1],
    }


class NoWorkers(LocalEngine):
    """An engine of which no worker may be asked."""

    def hire(self, *_: Any) -> Any:
        raise AssertionError("a worker was started")


def refused(study: dict[str, Any], out: Path, kind: type[Exception] = DataError) -> str:
    spec = StudySpec.parse(study, "test")
    with pytest.raises(kind) as caught:
        run_study(spec, out, engine=NoWorkers())
    assert {cell.state for cell in StudyFolder(out).statuses} == {"pending"}
    assert str(caught.value).endswith("\nNo cell was started.")
    return str(caught.value)


def _wrong_path(study: dict[str, Any]) -> None:
    study["datasets"][0]["train"]["path"] = "nowhere.jsonl"


def _wrong_column(study: dict[str, Any]) -> None:
    study["datasets"][0]["tracked"]["gold"] = "golden"


def _unknown_label(study: dict[str, Any]) -> None:
    study["datasets"][0]["tracked"]["labels"] = ["yes", "maybe"]


def _wrong_question(study: dict[str, Any]) -> None:
    Path("tasks.json").write_text(json.dumps(labelstudio()))
    study["datasets"][0]["tracked"] = {"source": "labelstudio", "path": "tasks.json", "question": "moood"}


def _wrong_text_field(study: dict[str, Any]) -> None:
    _wrong_question(study)
    study["datasets"][0]["tracked"] |= {"question": "mood", "text": ["txt"]}


def _too_few(study: dict[str, Any]) -> None:
    study["datasets"][0]["train_size"] = 100


def _noise(study: dict[str, Any]) -> None:
    for source in ("tracked", "train"):
        study["datasets"][0][source]["annotations"] = ["gold"]  # nobody disagrees
    study["training"] = {"noise": {"kind": "annotators", "rate": 0.9}}


def _noise_among_settled(study: dict[str, Any]) -> None:
    """The pool's items could be flipped; the tracked ones, on which all agree, cannot."""
    data = study["datasets"][0]
    data["entropy_cuts"] = {"low": 0.1, "high": 0.5}
    data["tracked"]["annotations"] = ["gold"]
    study["regimes"] = ["trained_on"]
    study["training"] = {"noise": {"kind": "annotators", "rate": 0.5, "among": "settled"}}


def _targets(study: dict[str, Any]) -> None:
    file = Path(study["datasets"][0]["tracked"]["path"])
    bare = [row | ({"a": "", "b": ""} if n == 5 else {}) for n, row in enumerate(ROWS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in bare))
    study["regimes"] = ["trained_on"]
    study["training"] = {"targets": "annotators"}


@pytest.mark.parametrize(
    ("spoil", "words", "needed"),
    [
        (_wrong_path, "the data file nowhere.jsonl was not found", "needed by every cell"),
        (_wrong_column, "there is no field 'golden'; it has: text, gold, a, b", "needed by every cell"),
        (_unknown_label, "the label 'no' is not among the labels: yes, maybe", "needed by every cell"),
        (
            _wrong_question,
            "there is no question 'moood'; its questions are: mood",
            "needed by every cell",
        ),
        (_wrong_text_field, "there is no field 'txt'; it has: text", "needed by every cell"),
        (_too_few, "train_size is 100, but the pool has 12 examples", "needed by every cell"),
        (_noise, "must flip 11 of 12 labels", "needed by 4 of 8 cells"),
        (_noise_among_settled, "must flip 6 of 12 labels", "needed by every cell"),
        (_targets, "1 tracked example(s) have no annotations", "needed by every cell"),
    ],
)
def test_what_is_wrong_with_data_is_said_once_and_no_worker_starts(
    tmp_path: Path, study: dict[str, Any], spoil: Any, words: str, needed: str
) -> None:
    spoil(study)
    message = refused(study, tmp_path / "out")
    assert message.count(words) == 1
    assert needed in message


def test_every_data_set_and_model_that_is_wrong_is_named(tmp_path: Path, study: dict[str, Any]) -> None:
    other = json.loads(json.dumps(study["datasets"][0])) | {"name": "other"}
    other["tracked"]["text"] = ["txt"]
    study["datasets"].append(other)
    study["models"].append({"name": "./no/missing"})
    study["datasets"][0]["train"]["path"] = "nowhere.jsonl"
    message = refused(study, tmp_path / "out")
    assert "nowhere.jsonl was not found" in message
    assert "there is no field 'txt'" in message
    assert "there is no model folder ./no/missing" in message
    assert message.count("needed by 16 of 32 cells") == 3


@pytest.mark.parametrize("name", ["./no/model", "/no/model", "minilm", "far/away"])
def test_a_model_that_is_not_to_be_had_is_said_once(tmp_path: Path, study: dict[str, Any], name: str) -> None:
    study["models"] = [{"name": name}]  # the tests' hub is offline
    message = refused(study, tmp_path / "out", ModelError)
    assert message.count(name) >= 1
    assert message.count("needed by every cell") == 1


def _lose_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({n: v for n, v in weights.items() if "layer.1." not in n}, folder / "model.safetensors")


def _ask_for_more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def _prefix(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({f"mine.{n}": v for n, v in weights.items()}, folder / "model.safetensors")


def _lose_the_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose_a_layer, "Missing from the file: bert.encoder.layer.1 (16 tensors)"),
        (_ask_for_more_layers, "config.json asks for 3 layers, and the file holds 2: use the config.json"),
        (_prefix, "No weight of the model's body is in the file (a name there: 'mine.bert."),
        (_lose_the_tokenizer, "comes without a tokenizer (no tokenizer.json"),
    ],
)
def test_a_model_folder_that_does_not_fit_is_refused_once_with_exit_code_2(
    tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch, spoil: Any, words: str
) -> None:
    spoil(tmp_path / "model")
    assert words in refused(study, tmp_path / "out", ModelError)
    (tmp_path / "s.yaml").write_text(json.dumps(study))
    result = CliRunner().invoke(app, ["run", "s.yaml"])
    said = re.sub(r"\s+", " ", result.stderr)
    assert result.exit_code == 2
    assert said.count(words) == 1
    assert said.count("needed by every cell") == 1
    assert said.rstrip().endswith("No cell was started.")


def test_a_model_folder_with_the_prefixes_of_wrappers_is_let_through(
    tmp_path: Path, study: dict[str, Any]
) -> None:
    file = tmp_path / "model" / "model.safetensors"
    save_file({f"_orig_mod.{n}": v for n, v in load_file(file).items()}, file)
    check_inputs(expand(StudySpec.parse(study, "test")), data_dir=None, elsewhere=False)


def test_the_command_ends_with_exit_code_2_and_the_words(tmp_path: Path, study: dict[str, Any]) -> None:
    _wrong_column(study)
    (tmp_path / "s.yaml").write_text(json.dumps(study))
    result = CliRunner().invoke(app, ["run", "s.yaml"])
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.count("there is no field 'golden'") == 1
    assert "checking the data set table ..." in result.stderr


def test_each_source_is_loaded_once(
    tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    own = assembly.load_source

    def load_source(spec: Any, **more: Any) -> Any:
        loads.append(spec.path)
        return own(spec, **more)

    monkeypatch.setattr(checking, "load_source", load_source)
    study["datasets"].append({**study["datasets"][0], "name": "fewer", "train_size": 5})
    check_inputs(expand(StudySpec.parse(study, "test")), data_dir=None, elsewhere=False)
    assert sorted(loads) == ["pool.jsonl", "t.jsonl"]


def test_on_a_cluster_data_that_is_not_here_is_left_to_the_cells(
    tmp_path: Path, study: dict[str, Any]
) -> None:
    _wrong_path(study)
    study["models"] = [{"name": "./on/their/disk"}]
    notes: list[str] = []
    cells = expand(StudySpec.parse(study, "test"))
    check_inputs(cells, data_dir=None, elsewhere=True, on_note=notes.append)
    assert notes == [
        "the data set table is not on this machine and was not checked: its cells look for it on theirs"
    ]
    # What is here is looked at.
    study["datasets"][0]["tracked"]["gold"] = "golden"
    with pytest.raises(DataError, match="there is no field 'golden'"):
        check_inputs(expand(StudySpec.parse(study, "test")), data_dir=None, elsewhere=True)


def test_a_finished_study_needs_no_data(
    tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    study["models"] = [{"name": "ok"}]
    spec = StudySpec.parse(study, "test")
    done = run_study(spec, tmp_path / "out", run_cell="fake_cell:run_cell")
    assert {cell.state for cell in done.cells} == {"done"}
    (tmp_path / "t.jsonl").unlink()
    again = run_study(spec, tmp_path / "out", engine=NoWorkers())
    assert len(again.skipped) == 8
