"""The curves store: what is written comes back, and nothing damaged, foreign or half done passes for a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dissensus.curves import Curves
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.store import CurvesWriter, ExampleColumns, load_curves, load_token_losses
from dissensus.store.manifest import StoreManifest, read_manifest, write_manifest

STEPS = (0, 5, 20)


def log_probs_at(step: int, n: int = 24) -> np.ndarray:
    logits = np.random.default_rng(step).normal(size=(n, 3))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def write_store(
    path: Path, dataset: AnnotatedDataset, *, finish: bool = True, **options: object
) -> CurvesWriter:
    writer = CurvesWriter(path, dataset, total_steps=20, **options)
    for step in STEPS:
        writer.write(step, dataset.ids, log_probs_at(step))
    if finish:
        writer.finish()
    return writer


@pytest.fixture
def store(tmp_path: Path, tiny_dataset: AnnotatedDataset) -> Path:
    write_store(tmp_path / "cell", tiny_dataset)
    return tmp_path / "cell"


def test_round_trip(tmp_path, tiny_dataset):
    tokens = np.arange(24.0)
    tokens[3] = np.nan
    regime = ["held_out", "trained_on"] * 12
    write_store(
        tmp_path / "a" / "cell",
        tiny_dataset,
        regime=regime,
        covariates={"tokens": tokens},
        provenance={"model": "tiny", "versions": {"torch": "2"}},
    )
    curves = load_curves(tmp_path / "a" / "cell")
    assert curves.ids == tiny_dataset.ids
    assert curves.labels == tiny_dataset.labels
    assert curves.steps.tolist() == list(STEPS)
    assert curves.total_steps == 20
    assert curves.progress.tolist() == [0, 0.25, 1]
    assert curves.log_probs.dtype == np.float32
    for t, step in enumerate(STEPS):
        assert np.array_equal(curves.log_probs[:, t], log_probs_at(step))  # to the bit
    assert np.array_equal(curves.gold, tiny_dataset.gold)
    assert np.array_equal(curves.counts, tiny_dataset.counts)
    assert curves.regime.tolist() == regime
    assert np.array_equal(curves.covariates["tokens"], tokens, equal_nan=True)
    assert [dict(t) for t in curves.text] == [dict(e.text) for e in tiny_dataset]
    assert curves.provenance == {"model": "tiny", "versions": {"torch": "2"}}


def test_rows_are_joined_by_id_not_by_position(tmp_path, tiny_dataset):
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=1)
    order = np.random.default_rng(0).permutation(24)
    writer.write(0, [tiny_dataset.ids[i] for i in order], log_probs_at(0)[order])
    assert np.array_equal(load_curves(tmp_path, partial=True).log_probs[:, 0], log_probs_at(0))


def test_points_come_back_in_the_order_of_steps(tmp_path, tiny_dataset):
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=9)
    for step in (9, 0, 4):
        writer.write(step, tiny_dataset.ids, log_probs_at(step))
    assert writer.steps == (0, 4, 9)
    assert np.array_equal(load_curves(tmp_path, partial=True).log_probs[:, 1], log_probs_at(4))


def test_losses_are_derived():
    # p = (1/2, 1/2, 0) and annotators 3 : 1 : 0: gold 0 gives ln 2, gold 2 infinity, none NaN; the soft loss is
    # 3/4 ln 2 + 1/4 ln 2 = ln 2, the impossible third label being one that nobody chose.
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.tile([0.5, 0.5, 0.0], (4, 1, 1))).astype(np.float32)
    curves = Curves(
        ids=("a", "b", "c", "d"),
        labels=("x", "y", "z"),
        steps=np.array([0]),
        total_steps=0,
        log_probs=log_probs,
        gold=np.array([0, 2, -1, 1]),
        counts=np.array([[3.0, 1, 0], [0, 0, 2], [0, 0, 0], [1, 0, 0]]),
        regime=np.array(["held_out"] * 4),
    )
    assert curves.losses[:, 0] == pytest.approx([np.log(2), np.inf, np.nan, np.log(2)], nan_ok=True)
    assert curves.soft_losses[:, 0] == pytest.approx([np.log(2), np.inf, np.nan, np.log(2)], nan_ok=True)
    kept = curves.subset(np.array([False, True, False, True]))
    assert kept.ids == ("b", "d")
    assert kept.losses[:, 0].tolist() == curves.losses[[1, 3], 0].tolist()


def test_curves_that_do_not_fit_together_are_refused(store):
    curves = load_curves(store)
    fields = {name: getattr(curves, name) for name in Curves.__dataclass_fields__}
    for change, message in (
        ({"gold": curves.gold[:5]}, r"gold has shape \(5,\); expected \(24,\)"),
        ({"ids": ("twice", *curves.ids[1:23], "twice")}, "an example id twice"),
        ({"steps": np.array([0, 20, 5])}, "steps must rise"),
        ({"steps": np.array([0, 5, 21])}, "steps must rise within 0 to 20"),
    ):
        with pytest.raises(StoreError, match=message):
            Curves(**{**fields, **change})


def test_run_that_has_not_ended(tmp_path, tiny_dataset):
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    with pytest.raises(StoreError, match="holds no tracking point yet"):
        load_curves(tmp_path, partial=True)
    writer.write(0, tiny_dataset.ids, log_probs_at(0))
    assert not writer.complete
    with pytest.raises(StoreError, match=r"has not ended \(1 tracking points so far\).*partial=True"):
        load_curves(tmp_path)
    assert load_curves(tmp_path, partial=True).steps.tolist() == [0]


def test_a_run_goes_on_where_it_stopped(tmp_path, tiny_dataset):
    write_store(tmp_path, tiny_dataset)
    whole = load_curves(tmp_path).log_probs
    again = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    assert again.steps == STEPS
    again.drop_after(5)
    assert again.steps == (0, 5)
    assert not again.complete
    assert not (tmp_path / "curves/step-00000020.parquet").exists()
    assert load_curves(tmp_path, partial=True).steps.tolist() == [0, 5]
    with pytest.raises(StoreError, match="already holds tracking point 5"):
        again.write(5, tiny_dataset.ids, log_probs_at(5))
    again.write(20, tiny_dataset.ids, log_probs_at(20))
    again.note(minutes=3)
    again.finish()
    assert np.array_equal(load_curves(tmp_path).log_probs, whole)
    assert load_curves(tmp_path).provenance == {"minutes": 3}
    again.drop_after(-1)
    assert again.steps == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_steps": 21}, "total_steps is 20, this run's is 21"),
        ({"regime": "trained_on"}, r"regimes are \['held_out'\], this run's are \['trained_on'\]"),
    ],
)
def test_another_runs_folder_is_refused(store, tiny_dataset, change, message):
    with pytest.raises(StoreError, match=message):
        CurvesWriter(store, tiny_dataset, **{"total_steps": 20, **change})


def test_another_data_sets_folder_is_refused(store, tiny_dataset):
    fewer = tiny_dataset.subset(tiny_dataset.ids[:5])
    with pytest.raises(
        StoreError, match=r"holds another run: its tracked_fingerprint is .* Choose another folder"
    ):
        CurvesWriter(store, fewer, total_steps=20)
    assert len(load_curves(store)) == 24


def test_wrong_rows_are_refused_and_leave_nothing(tmp_path, tiny_dataset):
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    ids, values = list(tiny_dataset.ids), log_probs_at(0)
    for given, rows, message in (
        (ids[:-1], values[:-1], "missing: 1, e.g. 'tiny-23'"),
        ([*ids[:-1], "stranger"], values, "missing: 1, e.g. 'tiny-23'; unknown: 1, e.g. 'stranger'"),
        ([*ids[:-1], ids[0]], values, "missing: 1, e.g. 'tiny-23'; repeated: 1, e.g. 'tiny-00'"),
        ([*ids, ids[0]], np.vstack([values, values[:1]]), "once; repeated: 1, e.g. 'tiny-00'"),
        (ids, values[:, :2], r"log_probs has shape \(24, 2\); expected \(24, 3\)"),
    ):
        with pytest.raises(StoreError, match=message):
            writer.write(0, given, rows)
    for step in (-1, 21):
        with pytest.raises(StoreError, match=f"tracking point {step} is outside this run's 0 to 20"):
            writer.write(step, ids, values)
    assert writer.steps == ()
    assert list((tmp_path / "curves").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "seen"}, "regime is 'seen'; expected 'held_out' or 'trained_on'"),
        ({"regime": ["held_out"]}, "1 regimes for 24 examples"),
        ({"covariates": {"gold": np.zeros(24)}}, "a covariate is named 'gold'"),
        ({"covariates": {"tokens": np.zeros(23)}}, r"covariate 'tokens' has shape \(23,\)"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path, tiny_dataset, options, message):
    with pytest.raises(StoreError, match=message):
        CurvesWriter(tmp_path / "cell", tiny_dataset, total_steps=1, **options)
    assert not (tmp_path / "cell").exists()


def test_a_file_in_the_way_is_explained(tmp_path, tiny_dataset):
    (tmp_path / "cell").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        CurvesWriter(tmp_path / "cell", tiny_dataset, total_steps=1)


@pytest.mark.parametrize("name", ["examples.parquet", "curves/step-00000005.parquet"])
def test_damage_is_found(store, name):
    path = store / name
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])  # one bit
    with pytest.raises(StoreError, match="is damaged: not the manifest's checksum"):
        load_curves(store)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="checksum"):
        load_curves(store)
    with pytest.raises(StoreError, match="is no Parquet file"):
        load_curves(store, verify=False)
    path.unlink()
    for verify in (True, False):
        with pytest.raises(StoreError, match="is missing though the manifest lists it"):
            load_curves(store, verify=verify)


def test_foreign_and_damaged_manifests(tmp_path, store):
    with pytest.raises(StoreError, match=r"is no curves store .*: it has no manifest\.json"):
        load_curves(tmp_path / "nowhere")
    manifest = store / "manifest.json"
    whole = json.loads(manifest.read_text())
    for content, message in (
        ("{half", "is damaged: it is not JSON"),
        ('{"schema": ' + "[" * 200_000, "is damaged: it is not JSON"),
        ('{"schema": ' + "1" * 5_000 + "}", "is damaged: it is not JSON"),
        ("[1, 2]", "is not a dissensus manifest"),
        ('{"name": "an app"}', "is not a dissensus manifest: it names no schema"),
        (
            json.dumps({**whole, "schema": 99}),
            "has schema 99; .* reads schema 3. Open it with the version",
        ),
        (
            json.dumps({**whole, "schema": 2}),
            "has schema 2; .* Open it with dissensus at commit 9fbc425",
        ),
        (
            json.dumps({"schema": 3, "labels": []}),
            "is damaged: 'total_steps' is None; expected a whole number",
        ),
    ):
        manifest.write_text(content)
        with pytest.raises(StoreError, match=message):
            load_curves(store)


def test_a_shard_that_the_manifest_does_not_list_does_not_exist(tmp_path, tiny_dataset):
    # What a kill between the shard and the manifest leaves behind.
    writer = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    writer.write(0, tiny_dataset.ids, log_probs_at(0))
    (tmp_path / "curves/step-00000005.parquet").write_bytes(b"half a shard")
    assert load_curves(tmp_path, partial=True).steps.tolist() == [0]
    again = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    again.write(5, tiny_dataset.ids, log_probs_at(5))
    assert np.array_equal(load_curves(tmp_path, partial=True).log_probs[:, 1], log_probs_at(5))


def test_a_write_that_fails_changes_nothing(store, tiny_dataset, monkeypatch):
    before = {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    writer = CurvesWriter(store, tiny_dataset, total_steps=20)

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            writer.write(7, tiny_dataset.ids, log_probs_at(7))
        with pytest.raises(OSError, match="No space left"):
            write_atomic(store / "manifest.json", "{}")
    after = {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    assert after == before


def test_a_kill_leaves_a_store_that_opens(tmp_path):
    # A process writes shards until it is killed; whatever it had reached must open with every checksum right.
    program = """
import sys
import numpy as np
from dissensus.store import CurvesWriter
from dissensus.data.annotations import AnnotatedDataset
records = [{"id": f"e{i}", "text": "a", "gold": "x", "counts": [1, 1]} for i in range(50)]
data = AnnotatedDataset.from_records(records, labels=("x", "y"), text=("text",))
writer = CurvesWriter(sys.argv[1], data, total_steps=10**6)
for step in range(10**6):
    writer.write(step, data.ids, np.full((50, 2), -step, dtype=np.float32))
    print(step, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) == 12:
                process.send_signal(signal.SIGKILL)
                break
    curves = load_curves(tmp_path, partial=True)
    assert len(curves.steps) >= 13
    assert np.array_equal(curves.steps, np.arange(len(curves.steps)))
    assert np.array_equal(curves.log_probs[7, :, 1], -curves.steps.astype(np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../precious.txt"},
        {"file": "curves/../../../precious.txt"},
        {"file": "{absolute}"},
        {"file": "curves/step-00000099.parquet"},
        {"file": None},
        {"step": -1, "file": "curves/step--0000001.parquet"},
        {"step": "0"},
        {"step": False},
        {"rows": None},
        {"sha256": 7},
    ],
)
def test_a_manifest_cannot_lead_out_of_its_folder(store, tiny_dataset, tmp_path, change):
    precious = tmp_path.parent / "precious.txt"
    precious.write_text("somebody's own")
    if change.get("file") == "{absolute}":
        change = {"file": str(precious)}
    manifest = json.loads((store / "manifest.json").read_text())
    (
        manifest["shards"][0]["parts"][0] if {"file", "sha256"} & change.keys() else manifest["shards"][0]
    ).update(change)
    if change.get("step") == -1:
        manifest["shards"][0]["parts"][0]["file"] = change["file"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=r"it lists a tracking point as .*; expected a step from 0"):
        load_curves(store)
    with pytest.raises(StoreError, match="it lists a tracking point as"):
        CurvesWriter(store, tiny_dataset, total_steps=20).drop_after(-1)
    assert precious.read_text() == "somebody's own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": "xyz"}, "'labels' is 'xyz'; expected a list of names"),
        ({"labels": ["x", 2, "z"]}, r"'labels' is \['x', 2, 'z'\]; expected a list of names"),
        ({"total_steps": "20"}, "'total_steps' is '20'; expected a whole number"),
        ({"total_steps": True}, "'total_steps' is True; expected a whole number"),
        ({"complete": 1}, "'complete' is 1; expected true or false"),
        ({"shards": {}}, "'shards' is {}; expected a list of tracking points"),
        (
            {"shards": ["curves/step-00000000.parquet"]},
            "lists a tracking point as 'curves/step-00000000.parquet'",
        ),
        ({"provenance": ["model"]}, r"'provenance' is \['model'\]; expected a mapping"),
        ({"examples_sha256": None}, "'examples_sha256' is None; expected a checksum"),
    ],
)
def test_a_manifest_of_other_kinds_of_values_is_refused(store, tiny_dataset, change, message):
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(StoreError, match=message):
        load_curves(store)
    with pytest.raises(StoreError, match=message):
        CurvesWriter(store, tiny_dataset, total_steps=20)


def test_further_values_and_token_losses_come_back_by_id(tmp_path, tiny_dataset):
    order = np.random.default_rng(1).permutation(24)
    shuffled = [tiny_dataset.ids[i] for i in order]
    writer = CurvesWriter(
        tmp_path, tiny_dataset, total_steps=20, values=["second", "first"], token_losses=True
    )
    for step in STEPS:
        first = np.arange(24, dtype=np.float32) + step
        tokens = [np.full(row % 3, row + step, dtype=np.float32) for row in range(24)]
        writer.write(
            step,
            shuffled,
            log_probs_at(step)[order],
            values={"first": first[order], "second": -first[order]},
            token_losses=[tokens[row] for row in order],
        )
    writer.finish()
    assert np.array_equal(writer.read(5, "first"), np.arange(24) + 5)
    curves = load_curves(tmp_path)
    assert sorted(curves.values) == ["first", "second"]
    assert np.array_equal(curves.values["second"], -(np.arange(24)[:, None] + np.array(STEPS)))
    assert np.array_equal(curves.subset(np.arange(24) == 7).values["first"], [[7, 12, 27]])
    tokens = load_token_losses(tmp_path, 20)
    assert {i: t.tolist() for i, t in tokens.items()} == {
        example_id: [row + 20] * (row % 3) for row, example_id in enumerate(tiny_dataset.ids)
    }
    with pytest.raises(StoreError, match=r"no tracking point 3; its points: \[0, 5, 20\]"):
        load_token_losses(tmp_path, 3)
    with pytest.raises(StoreError, match="holds no 'third'"):
        writer.read(5, "third")
    with pytest.raises(StoreError, match="losses a token are those of recorded completions"):
        curves.per_token()


def test_a_point_must_have_the_values_that_the_store_was_opened_for(tmp_path, tiny_dataset, store):
    writer = CurvesWriter(tmp_path / "b", tiny_dataset, total_steps=20, values=["first"])
    ones = np.ones(24, dtype=np.float32)
    with pytest.raises(StoreError, match=r"has the values \[\]; this store's are \['first'\]"):
        writer.write(0, tiny_dataset.ids, log_probs_at(0))
    with pytest.raises(StoreError, match=r"first has shape \(3,\); expected \(24,\)"):
        writer.write(0, tiny_dataset.ids, log_probs_at(0), values={"first": ones[:3]})
    with pytest.raises(StoreError, match="at every point or at none"):
        writer.write(0, tiny_dataset.ids, log_probs_at(0), values={"first": ones}, token_losses=[ones] * 24)
    assert writer.steps == ()
    with pytest.raises(StoreError, match="a value is named 'log_probs'"):
        CurvesWriter(tmp_path / "c", tiny_dataset, total_steps=20, values=["log_probs"])
    with pytest.raises(StoreError, match=r"its values is \['first'\], this run's is \[\]"):
        CurvesWriter(tmp_path / "b", tiny_dataset, total_steps=20)
    with pytest.raises(StoreError, match="recorded on request"):
        load_token_losses(store, 0)


def test_a_run_that_ended_early_says_so(tmp_path, tiny_dataset):
    writer = write_store(tmp_path, tiny_dataset, finish=False)
    writer.drop_after(5)
    for step in (4, 21):
        with pytest.raises(StoreError, match=f"cannot have ended at step {step}"):
            writer.end_at(step)
    writer.end_at(5)
    writer.finish()
    curves = load_curves(tmp_path)
    assert curves.progress.tolist() == [0, 1]
    assert curves.provenance["planned_steps"] == 20


@pytest.mark.parametrize(
    "change",
    [
        [(0, 24, "curves/step-00000005.part-00-of-01.parquet")],
        [(1, 24, None)],
        [(0, 23, None)],
        [(0, 25, None)],
        [(0, 8, "00-of-02"), (9, 24, "01-of-02")],
        [(0, 9, "00-of-02"), (8, 24, "01-of-02")],
        [(0, 8, "01-of-02"), (8, 24, "00-of-02")],
        [(0, 8, "00-of-02"), (8, 24, "00-of-02")],
        [(0, 30, "00-of-02"), (30, 24, "01-of-02")],
        [],
    ],
)
def test_parts_that_do_not_make_up_their_point_are_refused(store, change):
    manifest = json.loads((store / "manifest.json").read_text())
    own = manifest["shards"][1]["parts"][0]
    name = "curves/step-00000005.part-{}.parquet"
    manifest["shards"][1]["parts"] = [
        {**own, "begin": begin, "end": end}
        | ({} if file is None else {"file": file if "/" in file else name.format(file)})
        for begin, end, file in change
    ]
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="it lists a tracking point as"):
        load_curves(store)


@pytest.mark.parametrize("stranger", ["another step", "another data set", "fewer rows", "no column"])
def test_a_file_of_other_rows_is_found_without_checksums(store, tiny_dataset, tmp_path, stranger):
    path = store / "curves/step-00000005.parquet"
    if stranger == "another step":
        shutil.copy(store / "curves/step-00000020.parquet", path)
    elif stranger == "another data set":
        others = replace(tiny_dataset, examples=tiny_dataset.examples[::-1])
        write_store(tmp_path / "other", others)
        shutil.copy(tmp_path / "other/curves/step-00000005.parquet", path)
    elif stranger == "fewer rows":
        pq.write_table(pq.read_table(path).slice(0, 23), path)
    else:
        pq.write_table(pq.read_table(path).drop_columns(["log_prob_1"]), path)
    with pytest.raises(StoreError, match=r"it says of itself|it has 23 rows|it has no column 'log_prob_1'"):
        load_curves(store, verify=False)
    with pytest.raises(StoreError, match="not the manifest's checksum"):
        load_curves(store)


def test_the_files_of_a_manifest(store):
    manifest = read_manifest(store)
    names = ["examples.parquet", *(f"curves/step-{step:08d}.parquet" for step in STEPS)]
    assert manifest.files == {name: file_sha256(store / name) for name in names}
    fewer = manifest.without(["curves/step-00000005.parquet", "something/else"])
    assert fewer.steps == (0, 20)
    assert manifest.until(5).steps == (0, 5)
    assert not fewer.complete
    assert manifest.without([]) == manifest
    assert manifest.without(["examples.parquet"]).points == ()
    assert manifest.steps == STEPS
    assert StoreManifest.parse(manifest.text, "here") == manifest
    assert manifest.text == (store / "manifest.json").read_text()
    write_manifest(store, fewer)
    assert load_curves(store, partial=True).steps.tolist() == [0, 20]


def test_columns_write_what_a_data_set_does(tmp_path, tiny_dataset):
    columns = ExampleColumns.of(tiny_dataset)
    write_store(tmp_path / "a", tiny_dataset)
    writer = CurvesWriter(tmp_path / "b", columns, total_steps=20)
    for step in STEPS:
        writer.write(step, None, log_probs_at(step))
    writer.finish()
    assert writer.ids == tiny_dataset.ids
    for name in read_manifest(tmp_path / "a").files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    own = {"labels": columns.labels, "gold": columns.gold, "counts": columns.counts}
    made = ExampleColumns.from_arrays(list(tiny_dataset.ids), **own)
    assert json.loads(made.text[3].as_py()) == {"text": ""}
    assert (
        made.fingerprint == ExampleColumns.from_arrays(columns.ids, **own).fingerprint != columns.fingerprint
    )
    other = ExampleColumns.from_arrays([*tiny_dataset.ids[1:], "z"], **own)
    assert other.fingerprint != made.fingerprint
    with pytest.raises(StoreError, match="an example id comes twice"):
        ExampleColumns.from_arrays(
            ["a", "a"], labels=("x", "y"), gold=np.zeros(2, int), counts=np.ones((2, 2))
        )
    with pytest.raises(StoreError, match=r"gold labels run from 0 to 2; expected -1 to 1"):
        ExampleColumns.from_arrays(
            ["a", "b"], labels=("x", "y"), gold=np.array([0, 2]), counts=np.ones((2, 2))
        )
    with pytest.raises(StoreError, match="come with gold"):
        ExampleColumns.from_arrays(["a"], labels=("x", "y"), gold=np.zeros(2, int), counts=np.ones((2, 2)))
