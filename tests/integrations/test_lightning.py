"""The recorder inside Lightning's Trainer, under both of its names: the numbers, and the traps."""

from __future__ import annotations

import csv
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dissensus import AnnotatedDataset, load_curves
from dissensus.errors import MissingDependencyError, ModelError, SpecError, StoreError
from dissensus.record.probes.labels import LabelProbe
from schedule_free_sgd import ScheduleFreeSGD

pytest.importorskip("lightning", reason="the trainers extra is not installed")

from dissensus.integrations.lightning import CurveCallback

pytestmark = pytest.mark.filterwarnings("default")  # Lightning's advice on workers, loggers and deprecations


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def both(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.fixture
def pl() -> Any:
    return import_module("lightning.pytorch")


class Fit:
    """Makes a seeded module, its loader and a quiet trainer."""

    def __init__(self, folder: Path, dataset: AnnotatedDataset, out: Path) -> None:
        self.folder, self.dataset, self.out = folder, dataset, out
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def module(self, pl: Any) -> Any:
        folder, tokenizer = self.folder, self.tokenizer

        class Module(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
                self.model.train()  # Lightning leaves the mode as it finds it, and dropout shall draw numbers
                self.tokenizer = tokenizer
                self.dtypes: list[torch.dtype] = []
                self.validated: list[float] = []

            def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
                out = self.model(**batch)
                self.dtypes.append(out.logits.dtype)
                return out.loss

            def validation_step(self, batch: Any, batch_idx: int) -> None:
                assert not self.training
                assert not self.model.training
                loss = self.model(**batch).loss
                self.validated.append(float(loss))
                self.log("val_loss", loss, batch_size=5)

            def configure_optimizers(self) -> Any:
                return torch.optim.AdamW(self.parameters(), lr=1e-2)

        return Module()

    def collate(self, rows: list[Any]) -> dict[str, torch.Tensor]:
        texts = [[e.text[field] for e in rows] for field in self.dataset.fields]
        batch = self.tokenizer(*texts, padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([e.gold for e in rows])}

    def loader(self, *, shuffle: bool = True) -> Any:
        return torch.utils.data.DataLoader(
            list(self.dataset), batch_size=5, shuffle=shuffle, collate_fn=self.collate
        )

    def trainer(self, pl: Any, callbacks: list[Any], **options: Any) -> Any:
        options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **options}
        return pl.Trainer(
            accelerator="cpu", devices=1, callbacks=callbacks, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=self.out, log_every_n_steps=1, **options,
        )  # fmt: skip

    def fit(self, pl: Any, callbacks: list[Any], *, ckpt_path: str | None = None, **options: Any) -> Any:
        module = self.module(pl)
        trainer = self.trainer(pl, callbacks, **options)
        torch.manual_seed(1)  # order of the data, dropout
        trainer.fit(module, self.loader(), self.loader(shuffle=False), ckpt_path=ckpt_path)
        return module


@pytest.fixture
def fit(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> Fit:
    return Fit(tiny_encoder_dir, tiny_dataset, tmp_path)


def one_by_one(module: Any, dataset: AnnotatedDataset) -> np.ndarray:
    """Each example's loss by itself, by nothing but the model's own forward pass."""
    model, was = module.model, module.model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        pairs = [(e.text["premise"], e.text["hypothesis"]) for e in dataset]
        logits = torch.cat([model(**module.tokenizer(*pair, return_tensors="pt")).logits for pair in pairs])
    model.train(was)
    log_probs = logits.double().log_softmax(-1).numpy()
    return -log_probs[np.arange(len(dataset)), dataset.gold]


def spy(pl: Any, dataset: AnnotatedDataset) -> Any:
    class Spy(pl.Callback):
        losses: dict[int, np.ndarray] = {}  # noqa: RUF012

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.losses = {trainer.global_step: one_by_one(pl_module, dataset)}

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            if trainer.global_step not in self.losses:
                self.losses[trainer.global_step] = one_by_one(pl_module, dataset)

    return Spy()


def test_losses_are_those_of_one_by_one_passes(both: Any, fit: Fit, tmp_path: Path) -> None:
    """24 examples in batches of 5: 5 steps per epoch, of which the last has 4."""
    seen = spy(both, fit.dataset)
    callback = CurveCallback(tmp_path / "run", fit.dataset, model="model", points=6)
    fit.fit(both, [callback, seen])
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 2, 4, 6, 8, 10]
    for t, step in enumerate(curves.steps.tolist()):
        np.testing.assert_allclose(curves.losses[:, t], seen.losses[step], atol=1e-5)
    assert callback.recorder is not None
    assert callback.recorder.timing.overhead > 0


def test_training_is_the_same_with_and_without(pl: Any, fit: Fit, tmp_path: Path) -> None:
    """Weights, random state, the sanity check and validation, twice per epoch."""
    options = {"val_check_interval": 2, "num_sanity_val_steps": 2}
    plain = fit.fit(pl, [], **options)
    state = torch.get_rng_state()
    recorded = fit.fit(
        pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model", points=11)], **options
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert plain.validated == recorded.validated
    assert len(plain.validated) > 20
    for (name, expected), found in zip(
        plain.state_dict().items(), recorded.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, found), name


def test_accumulation_and_a_short_last_batch(pl: Any, fit: Fit, tmp_path: Path) -> None:
    """5 batches an epoch, two per step: 3 steps per epoch, the last of a single batch of 4."""
    seen = spy(pl, fit.dataset)
    callback = CurveCallback(tmp_path / "run", fit.dataset, model=lambda module: module.model, points=7)
    fit.fit(pl, [callback, seen], accumulate_grad_batches=2)
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == list(range(7))
    np.testing.assert_allclose(curves.losses, np.stack(list(seen.losses.values()), axis=1), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_precision_plugin_does_not_change_what_is_recorded(
    pl: Any, fit: Fit, tmp_path: Path, precision: str
) -> None:
    seen = spy(pl, fit.dataset)
    module = fit.fit(
        pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model", points=3), seen], precision=precision
    )
    assert set(module.dtypes) == {torch.bfloat16 if precision == "bf16-mixed" else torch.float32}
    curves = load_curves(tmp_path / "run")
    for t, step in enumerate(curves.steps.tolist()):
        np.testing.assert_allclose(curves.losses[:, t], seen.losses[step], atol=1e-5)


def test_a_resumed_run_has_each_point_once(both: Any, fit: Fit, tmp_path: Path) -> None:
    """Interrupted in step 8, with a checkpoint after step 6: 7 and 8 are measured again."""
    Checkpoint = import_module(f"{both.__name__}.callbacks").ModelCheckpoint

    def callbacks(name: str) -> list[Any]:
        saves = Checkpoint(dirpath=tmp_path / f"{name}-checkpoints", every_n_train_steps=3, save_top_k=-1)
        return [CurveCallback(tmp_path / name, fit.dataset, model="model", points=11), saves]

    class Cut(both.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 8:
                recording[0].recorder.flush()  # so that there are points after the last checkpoint
                raise InterruptedError

    recording = callbacks("cut")
    with pytest.raises(InterruptedError):
        fit.fit(both, [*recording, Cut()], enable_checkpointing=True)
    assert (tmp_path / "cut" / "curves" / "step-00000008.parquet").exists()
    (checkpoint,) = (tmp_path / "cut-checkpoints").glob("*step=6.ckpt")
    seen = spy(both, fit.dataset)
    again = callbacks("cut")
    fit.fit(both, [*again, seen], ckpt_path=str(checkpoint), enable_checkpointing=True)
    curves = load_curves(tmp_path / "cut")
    assert curves.steps.tolist() == list(range(11))
    assert sorted(seen.losses) == [6, 7, 8, 9, 10]
    for step, expected in seen.losses.items():
        np.testing.assert_allclose(curves.losses[:, step], expected, atol=1e-5)
    assert again[0].recorder.writer.complete


def test_resuming_a_run_that_was_not_recorded(pl: Any, fit: Fit, tmp_path: Path) -> None:
    saves = pl.callbacks.ModelCheckpoint(
        dirpath=tmp_path / "checkpoints", every_n_train_steps=3, save_top_k=-1
    )
    fit.fit(pl, [saves], enable_checkpointing=True)
    (checkpoint,) = (tmp_path / "checkpoints").glob("*step=3.ckpt")
    with pytest.raises(StoreError, match="holds no tracking point 0: it was begun without recording"):
        fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model")], ckpt_path=str(checkpoint))


def test_a_run_that_stops_early_ends_where_it_stopped(pl: Any, fit: Fit, tmp_path: Path) -> None:
    stop = pl.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9)
    fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model", points=11), stop], max_epochs=40)
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 10]  # two epochs of five steps, of 200
    assert curves.progress.tolist() == [0, 1]
    assert curves.provenance["planned_steps"] == 200


def test_aggregates_go_to_the_trainers_loggers(pl: Any, fit: Fit, tmp_path: Path) -> None:
    logger = import_module("lightning.pytorch.loggers").CSVLogger(tmp_path, name="log", version=0)
    fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model", points=6)], logger=logger)
    with (tmp_path / "log" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = {int(row["step"]): row for row in rows if row.get("dissensus/contested_loss")}
    assert sorted(logged) == [0, 2, 4, 6, 8, 10]
    assert all(np.isfinite(float(row["dissensus/rho_aulc"])) for step, row in logged.items() if step)
    assert any(row.get("val_loss") for row in rows)


def test_without_live_nothing_is_logged(pl: Any, fit: Fit, tmp_path: Path) -> None:
    logger = import_module("lightning.pytorch.loggers").CSVLogger(tmp_path, name="log", version=0)
    callback = CurveCallback(tmp_path / "run", fit.dataset, model="model", points=2, live=False)
    fit.fit(pl, [callback], logger=logger)
    assert "dissensus" not in (tmp_path / "log" / "version_0" / "metrics.csv").read_text()


def test_a_module_that_is_the_model_itself(pl: Any, fit: Fit, tmp_path: Path) -> None:
    """Without `model` the module is asked, here through a score of the user's own."""
    probe = LabelProbe(
        fit.dataset, tokenizer=fit.tokenizer, score=lambda module, batch: module.model(**batch).logits
    )
    callback = CurveCallback(tmp_path / "run", probe, points=2)
    module = fit.fit(pl, [callback])
    found = load_curves(tmp_path / "run").losses[:, -1]
    np.testing.assert_allclose(found, one_by_one(module, fit.dataset), atol=1e-5)


@pytest.mark.parametrize("model", ["net", "model.nothing", lambda module: module.tokenizer])
def test_a_model_that_is_not_there(pl: Any, fit: Fit, tmp_path: Path, model: Any) -> None:
    with pytest.raises(
        SpecError, match="expected the name of the attribute that holds the transformers model"
    ):
        fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model=model)])


def test_a_run_without_an_end_needs_its_steps(pl: Any, fit: Fit, tmp_path: Path) -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            trainer.should_stop = trainer.global_step >= 7

    with pytest.raises(SpecError, match="number of optimiser steps is not known"):
        fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model")], max_epochs=-1)
    callback = CurveCallback(tmp_path / "run", fit.dataset, model="model", total_steps=7, points=8)
    fit.fit(pl, [callback, Stop()], max_epochs=-1)
    assert load_curves(tmp_path / "run").steps.tolist() == list(range(8))


def test_a_strategy_that_shards_is_refused(pl: Any, fit: Fit, tmp_path: Path) -> None:
    class FullyShardedDataParallel(torch.nn.Module):
        """What `trainer.strategy.model` is under FSDP, by name."""

    callback = CurveCallback(tmp_path / "run", fit.dataset, model="model")

    class Strategy:
        model = FullyShardedDataParallel()

    class Trainer:
        strategy = Strategy()
        fast_dev_run = 0

    with pytest.raises(ModelError, match="sharded over processes"):
        callback.on_train_start(Trainer(), fit.module(pl))


def test_without_lightning_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from dissensus.integrations.lightning import _callback

    for package in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingDependencyError, match=r"needs the package 'lightning'.* 'dissensus\[trainers\]'"
    ):
        _callback()


def test_a_trial_of_the_code_leaves_the_folder_to_the_run(pl: Any, fit: Fit, tmp_path: Path) -> None:
    fit.fit(pl, [CurveCallback(tmp_path / "run", fit.dataset, model="model")], fast_dev_run=True)
    assert not (tmp_path / "run").exists()


def test_a_schedule_free_optimiser_is_measured_at_its_evaluation_weights(
    pl: Any, fit: Fit, tmp_path: Path
) -> None:
    """Found by the callback; the module switches the optimiser to its training mode, as its documentation says."""

    def fitted(callbacks: list[Any]) -> Any:
        module = fit.module(pl)
        optimizer = ScheduleFreeSGD(module.parameters(), lr=0.3)
        module.configure_optimizers = lambda: optimizer
        module.on_train_start = optimizer.train
        trainer = fit.trainer(pl, callbacks, max_epochs=1)
        torch.manual_seed(1)
        trainer.fit(module, fit.loader())
        return module, optimizer

    plain, _ = fitted([])
    module, optimizer = fitted([CurveCallback(tmp_path / "run", fit.dataset, model="model", points=3)])
    for expected, found in zip(plain.parameters(), module.parameters(), strict=True):
        assert torch.equal(expected, found)
    trained = one_by_one(module, fit.dataset)
    optimizer.eval()
    curves = load_curves(tmp_path / "run")
    np.testing.assert_allclose(curves.losses[:, -1], one_by_one(module, fit.dataset), atol=1e-5)
    assert np.abs(curves.losses[:, -1] - trained).max() > 1e-3
