"""Specifications: what is refused, and what the refusal says."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dissensus.config import RunSpec, StudySpec
from dissensus.config.base import Spec
from dissensus.config.sources import SOURCES
from dissensus.errors import SpecError
from dissensus.run.allocation import executions
from dissensus.study.grid import expand

BASE: dict[str, Any] = {
    "name": "s",
    "models": [{"name": "m"}],
    "datasets": [
        {"name": "d", "tracked": {"source": "simulated"}, "train": {"source": "simulated", "split": "train"}}
    ],
    "methods": [{"name": "full", "learning_rate": 1e-4}],
}


def refused(**changes: Any) -> str:
    data = copy.deepcopy(BASE) | changes
    with pytest.raises(SpecError) as caught:
        StudySpec.parse(data, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml is not valid:\n")
    return message


def only_line(message: str) -> str:
    lines = message.splitlines()
    assert len(lines) == 2, message
    return lines[1].strip()


def every_spec() -> list[type[Spec]]:
    left, found = [Spec], []
    while left:
        found.append(left.pop())
        left += found[-1].__subclasses__()
    return found


def dataset(**tracked: Any) -> list[dict[str, Any]]:
    return [{"name": "d", "tracked": tracked}]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"metods": 3}, "metods: unknown key; did you mean 'methods'?"),
        ({"models": [{"name": "m", "hed": "x"}]}, "models.0.hed: unknown key; did you mean 'head'?"),
        (
            {"training": {"noise": {"rate": 0.1, "knd": 1}}},
            "training.noise.knd: unknown key; did you mean 'kind'?",
        ),
        ({"exclude": [{"modl": "m"}]}, "exclude.0.modl: unknown key; did you mean 'model'?"),
        (
            {"datasets": dataset(source="chaosnli", prt="snli")},
            "datasets.0.tracked.prt: unknown key; did you mean 'part'?",
        ),
        (
            {"datasets": dataset(source="chaosnly")},
            "datasets.0.tracked: unknown source 'chaosnly'; did you mean 'chaosnli'? (or a package that brings it is "
            "not installed)",
        ),
        (
            {"datasets": dataset(part="snli")},
            f"datasets.0.tracked: needs the key 'source', one of: {', '.join(SOURCES.builtin)}",
        ),
        (
            {"datasets": dataset(source="lewidi", path=3)},
            "datasets.0.tracked.path: expected a valid string (given: 3)",
        ),
        (
            {"methods": [{"name": "lorra", "learning_rate": 1}]},
            "methods.0.name: expected 'full', 'lora' or 'ia3' (given: 'lorra')",
        ),
        ({"methods": [{"name": "lora", "learning_rate": 1}]}, "methods.0: lora needs a rank, e.g. rank: 8"),
        ({"methods": []}, "methods: needs at least one item"),
        ({"models": "minilm"}, "models: expected a list (given: 'minilm')"),
        ({"exclude": [{"model": 3}]}, "exclude.0.model: expected a valid string or a list (given: 3)"),
        ({"exclude": [{"seed": [1, [2]]}]}, "exclude.0.seed.1: expected a valid integer (given: [2])"),
    ],
)
def test_one_mistake_is_one_line_with_the_path_as_written(changes: dict[str, Any], line: str) -> None:
    assert only_line(refused(**changes)) == line


def test_each_mistake_has_its_line() -> None:
    message = refused(training={"epochs": 0, "batchsize": 1}, models=[{"name": "m"}, {"nme": "x"}])
    assert "training.epochs: expected greater than 0 (given: 0)" in message
    assert "training.batchsize: unknown key; did you mean 'batch_size'?" in message
    assert "models.1.name: is missing" in message
    assert "models.1.nme: unknown key; did you mean 'name'?" in message
    assert len(message.splitlines()) == 5


def test_truth_values_of_yaml_are_explained() -> None:
    table = {"source": "table", "path": "x.csv", "text": ["t"], "gold": "g", "labels": [True, "maybe"]}
    line = only_line(refused(datasets=dataset(**table)))
    assert line.startswith("datasets.0.tracked.labels.0: expected text; YAML reads yes, no")


def test_yaml_round_trip_keeps_the_study() -> None:
    study = StudySpec.parse(
        BASE | {"seeds": [1, 2], "overrides": [{"when": {"model": ["m"]}, "set": {}}]}, "here"
    )
    assert StudySpec.from_text(study.to_yaml(), "there") == study


def test_exponents_without_a_dot_are_numbers() -> None:
    # YAML 1.1 reads 1e-3 as text; people mean the number.
    study = StudySpec.from_text(
        StudySpec.parse(BASE, "x").to_yaml().replace("learning_rate: 0.0001", "learning_rate: 1e-4"), "f.yaml"
    )
    assert study.methods[0].learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: [", "is not valid YAML"),
        ("", "holds nothing; a study is a mapping"),
        ("- 1", "holds list; a study is a mapping"),
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("training: {epochs: 1, epochs: 2}", "the key 'epochs' stands twice"),
        ("name: !!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_bad_yaml_is_explained(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        StudySpec.from_yaml(path)
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_yaml_anchors_and_merges_still_work() -> None:
    text = StudySpec.parse(BASE, "x").to_yaml() + "\nexclude: [&a {model: m}, {<<: *a, seed: 1}]\n"
    text = text.replace("exclude: []\n", "")
    assert StudySpec.from_text(text, "f.yaml").exclude[1].model == "m"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: No such file"):
        StudySpec.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not a text file"):
        StudySpec.from_yaml(tmp_path / "b.yaml")


def test_identity_of_a_run_depends_on_values_not_on_spelling() -> None:
    cell = {k: BASE[f"{k}s"][0] for k in ("model", "dataset", "method")} | {"regime": "held_out"}
    one = RunSpec.parse(cell, "a")
    same = RunSpec.parse(cell | {"seed": "0", "training": {"epochs": "1"}}, "b")
    other = RunSpec.parse(cell | {"training": {"epochs": 2}}, "c")
    assert one.digest() == same.digest()
    assert one.cell_id == f"d.m.full.held_out.s0-{one.digest()[:8]}"
    assert other.digest() != one.digest()


def test_config_imports_no_heavy_library() -> None:
    code = "import sys, dissensus.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_called_that(number: float) -> None:
    given = f"expected a finite number (given: {number})"
    method = {"name": "lora", "rank": 4, "learning_rate": 1e-4}
    for field in ("learning_rate", "alpha", "rank", "dropout"):
        message = refused(methods=[method | {field: number}])
        assert only_line(message) == f"methods.0.{field}: {given}"
    for field in ("epochs", "warmup", "weight_decay", "max_grad_norm", "batch_size"):
        assert only_line(refused(training={field: number})) == f"training.{field}: {given}"
    assert only_line(refused(analysis={"cuts": [0.2, number]})) == f"analysis.cuts.1: {given}"
    assert only_line(refused(models=[{"name": "m", "dropout": number}])) == f"models.0.dropout: {given}"
    text = "name: s\nmodels: [{name: m}]\ndatasets: [{name: d, tracked: {source: simulated}}]\nregimes: [trained_on]\n"
    written = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(number)]
    with pytest.raises(SpecError, match=r"learning_rate: expected a finite number"):
        StudySpec.from_text(f"{text}methods: [{{name: full, learning_rate: {written}}}]", "f.yaml")


@pytest.mark.parametrize("spec", every_spec(), ids=lambda spec: spec.__name__)
def test_every_specification_refuses_what_is_no_number(spec: type[Spec]) -> None:
    assert spec.model_config["allow_inf_nan"] is False


def test_numbers_inside_exceptions_are_looked_at_too() -> None:
    data = copy.deepcopy(BASE)
    data["variants"] = [{"name": "v", "set": {"method": {"learning_rate": math.nan}}}]
    with pytest.raises(SpecError, match=r"variants.0.set.method.learning_rate: expected a finite number"):
        expand(StudySpec.parse(data, "f.yaml"))
    data = copy.deepcopy(BASE) | {"execution": [{"set": {"gpus": math.nan}}]}
    with pytest.raises(SpecError, match=r"execution.0.set.gpus: expected a finite number"):
        executions(StudySpec.parse(data, "f.yaml"))
