"""The free mode in a trainer: against a spy that takes the loss of each example from the same training forward."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from dissensus import AnnotatedDataset, load_curves
from dissensus.errors import DataError, ModelError, SpecError, StoreError
from dissensus.integrations.free import record_free
from dissensus.integrations.outputs import said
from dissensus.integrations.transformers import record
from processes import PATIENCE

Make = Callable[..., Trainer]
FIELDS = TrainingArguments.__dataclass_fields__
CHECKPOINTING = (
    "activation_checkpointing" if "activation_checkpointing" in FIELDS else "gradient_checkpointing"
)


@pytest.fixture
def make(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> Make:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    pairs = tokenizer([e.text["premise"] for e in tiny_dataset], [e.text["hypothesis"] for e in tiny_dataset])
    rows = {**pairs, "labels": tiny_dataset.gold.tolist(), "id": list(tiny_dataset.ids)}

    def make_trainer(
        *, lora: bool = False, out: str = "trainer", drop: str = "", kind: Any = Trainer, more: Any = None,
        **options: Any,
    ) -> Trainer:  # fmt: skip
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
        assert model.config.hidden_dropout_prob > 0  # or the tests would show less than they say
        if lora:
            config = LoraConfig(task_type="SEQ_CLS", r=4, lora_dropout=0.1, target_modules=["query", "value"])
            model = get_peft_model(model, config)
        options = {
            "num_train_epochs": 2,
            "save_strategy": "no",
            "logging_steps": 2,
            "report_to": "none",
            **options,
        }
        arguments = TrainingArguments(
            tmp_path / out, per_device_train_batch_size=5, learning_rate=1e-2, use_cpu=True, disable_tqdm=True,
            **options,
        )  # fmt: skip
        data = Dataset.from_dict({k: v for k, v in rows.items() if k != drop})
        return kind(
            model, arguments, train_dataset=data, eval_dataset=data, processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer), **(more or {}),
        )  # fmt: skip

    return make_trainer


@contextmanager
def spied(trainer: Trainer, dataset: AnnotatedDataset) -> Iterator[dict[tuple[int, str], float]]:
    """(epoch, id) -> the gold loss in the training forward, told apart by the tokens and not by any id."""
    found: dict[tuple[int, str], float] = {}
    per_epoch = -(-len(trainer.get_train_dataloader()) // trainer.args.gradient_accumulation_steps)
    texts = {}
    for e in dataset:
        ids = trainer.processing_class(e.text["premise"], e.text["hypothesis"])["input_ids"]
        texts[tuple(ids)] = e
    assert len(texts) == len(dataset)

    def look(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        ids, mask = kwargs["input_ids"], kwargs["attention_mask"]
        assert "id" not in kwargs
        assert "dissensus_row" not in kwargs
        examples = [texts[tuple(row[on.bool()].tolist())] for row, on in zip(ids, mask, strict=True)]
        gold = torch.tensor([e.gold for e in examples])
        losses = cross_entropy(outputs.logits.detach().double(), gold, reduction="none")
        for e, loss in zip(examples, losses.tolist(), strict=True):
            assert found.setdefault((trainer.state.global_step // per_epoch, e.id), loss) == loss

    # Of the outermost: PEFT 0.18 calls the forward of the model inside, not the model, so that hooks there see nothing.
    hook = trainer.model.register_forward_hook(look, with_kwargs=True)
    yield found
    hook.remove()


def check(path: Path, spy: dict[tuple[int, str], float], epochs: int, atol: float = 1e-5) -> None:
    curves = load_curves(path)
    assert len(curves.steps) == epochs
    expected = [[spy.get((t, i), np.nan) for t in range(epochs)] for i in curves.ids]
    np.testing.assert_allclose(curves.losses, expected, atol=atol)
    assert np.isfinite(expected).any()


def test_losses_are_those_of_the_training_forward(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """24 examples in batches of 5: five steps per epoch, the last of 4 examples."""
    trainer = make(eval_strategy="steps", eval_steps=2)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with spied(trainer, tiny_dataset) as spy:
        trainer.train()
    check(tmp_path / "run", spy, 2)
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [5, 10]
    assert np.isfinite(curves.log_probs).all()
    assert sorted(np.unique(curves.values["seen_step"]).tolist()) == list(range(10))
    assert curves.provenance["mode"] == "free"
    # Dropout was on: the trained model's own losses are others.
    with torch.no_grad():
        logits = trainer.model(**trainer.processing_class(
            [e.text["premise"] for e in tiny_dataset], [e.text["hypothesis"] for e in tiny_dataset],
            return_tensors="pt", padding=True)).logits  # fmt: skip
    own = cross_entropy(logits, torch.tensor(tiny_dataset.gold), reduction="none").numpy()
    assert np.abs(own - curves.losses[:, -1]).max() > 0.01


def own_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    return cross_entropy(outputs.logits, labels)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 2},
        {CHECKPOINTING: True},
        {"label_smoothing_factor": 0.1},
        {"more": {"compute_loss_func": own_loss}},
        {"lora": True},
        {"remove_unused_columns": False},
        {"dataloader_num_workers": 1},
        {"max_steps": 8},
    ],
    ids=lambda options: next(iter(options)),
)
def test_ways_of_training(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, options: dict[str, Any]
) -> None:
    trainer = make(**options)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with spied(trainer, tiny_dataset) as spy:
        trainer.train()
    check(tmp_path / "run", spy, 2)
    said = load_curves(tmp_path / "run").provenance["epochs"]
    steps, seen = {"gradient_accumulation_steps": ([3, 6], 24), "max_steps": ([5, 8], 15)}.get(
        next(iter(options)), ([5, 10], 24)
    )
    assert said == [
        {"step": steps[0], "seen": 24, "seen_more_than_once": 0},
        {"step": steps[1], "seen": seen, "seen_more_than_once": 0},
    ]


def test_half_precision_and_a_compiled_model(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = make(bf16=True)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with spied(trainer, tiny_dataset) as spy:
        trainer.train()
    check(tmp_path / "run", spy, 2, atol=0.1)  # the spy sees bf16, before Accelerate's conversion
    compiled = make(torch_compile=True, torch_compile_backend="eager", max_steps=2)
    record_free(compiled, tmp_path / "compiled", tiny_dataset)
    compiled.train()
    assert np.isfinite(load_curves(tmp_path / "compiled").losses).sum() == 10


@pytest.mark.parametrize("lora", [False, True])
def test_training_is_the_same_with_and_without(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, lora: bool
) -> None:
    options: dict[str, Any] = {"lora": lora, "eval_strategy": "steps", "eval_steps": 3}
    plain, recorded = make(out="a", **options), make(out="b", **options)
    record_free(recorded, tmp_path / "run", tiny_dataset)
    states = []
    for trainer in (plain, recorded):
        set_seed(1)
        trainer.train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
    found = recorded.model.state_dict()
    for name, expected in plain.model.state_dict().items():
        assert torch.equal(expected, found[name]), name
    keys = ("loss", "eval_loss", "grad_norm", "step")
    logs = [[{k: e[k] for k in keys if k in e} for e in t.state.log_history] for t in (plain, recorded)]
    assert logs[0] == logs[1]
    # and the trainer is left as it was
    assert not {"training_step", "get_train_dataloader"} & recorded.__dict__.keys()
    assert not recorded.model._forward_hooks
    assert isinstance(recorded.data_collator, DataCollatorWithPadding)
    assert "id" not in (recorded._signature_columns or [])


def test_both_modes_on_one_trainer(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    trainer = make()
    record(trainer, tmp_path / "full", tiny_dataset, points=11, regime="trained_on")
    record_free(trainer, tmp_path / "free", tiny_dataset)
    with spied(trainer, tiny_dataset) as spy:
        trainer.train()
    check(tmp_path / "free", spy, 2)
    assert load_curves(tmp_path / "full").steps.tolist() == list(range(11))
    alone = make(out="alone")
    record(alone, tmp_path / "full-alone", tiny_dataset, points=11, regime="trained_on")
    alone.train()
    # Up to rounding: the spy is a hook, with which the model is not read in packed rows.
    np.testing.assert_allclose(
        load_curves(tmp_path / "full").log_probs, load_curves(tmp_path / "full-alone").log_probs, atol=2e-6
    )


def test_a_resumed_trainer_keeps_what_the_cut_epoch_saw(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    class Cut(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 9:
                raise KeyboardInterrupt

    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 7}
    whole, cut, again = make(out="whole", **options), make(out="cut", **options), make(out="cut", **options)
    record_free(whole, tmp_path / "whole", tiny_dataset)
    set_seed(1)
    whole.train()
    record_free(cut, tmp_path / "cut", tiny_dataset)
    cut.add_callback(Cut())
    set_seed(1)
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    assert not cut.model._forward_hooks
    record_free(again, tmp_path / "cut", tiny_dataset)
    again.train(resume_from_checkpoint=True)
    expected, found = load_curves(tmp_path / "whole"), load_curves(tmp_path / "cut")
    np.testing.assert_array_equal(found.log_probs, expected.log_probs)
    np.testing.assert_array_equal(found.values["seen_step"], expected.values["seen_step"])
    second = make(out="second")
    record_free(second, tmp_path / "cut", tiny_dataset)
    with pytest.raises(StoreError, match="holds the curves of a run already"):
        second.train()


def test_a_run_that_stops_early(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 7

    trainer = make(num_train_epochs=4)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    trainer.add_callback(Stop())
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [5, 7]
    assert np.isfinite(curves.losses).sum(axis=0).tolist() == [24, 10]
    assert curves.provenance["planned_steps"] == 20


def test_ids_that_are_missing_or_unknown(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'id'; it has: .*keep the column through your own map"):
        record_free(make(drop="id"), tmp_path / "a", tiny_dataset)
    holes = make()
    ids: list[Any] = list(tiny_dataset.ids)
    ids[3] = None
    holes.train_dataset = holes.train_dataset.remove_columns("id").add_column("id", ids)
    record_free(holes, tmp_path / "b", tiny_dataset)
    with pytest.raises(DataError, match="a training row has no 'id'; it has: "):
        holes.train()
    listed = make(drop="id")
    listed.train_dataset = list(listed.train_dataset)  # no columns to look at beforehand
    record_free(listed, tmp_path / "c", tiny_dataset)
    with pytest.raises(DataError, match="a training row has no 'id'"):
        listed.train()
    few = tiny_dataset.subset(tiny_dataset.ids[4:12])
    unknown = make()
    record_free(unknown, tmp_path / "d", few)
    with pytest.raises(DataError, match=r"is not in the data set 'tiny' to record. .*others=True"):
        unknown.train()


def test_examples_that_are_not_recorded_are_left_aside(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """A tracked set within a larger training set, in another order: joined by id, whatever the rows' numbers."""
    few = tiny_dataset.subset(tiny_dataset.ids[12:4:-1])
    trainer = make()
    trainer.train_dataset = trainer.train_dataset.select([i for i in range(24) if i != 7])  # one was dropped
    record_free(trainer, tmp_path / "run", few, others=True)
    with spied(trainer, tiny_dataset) as spy:
        trainer.train()
    check(tmp_path / "run", spy, 2)
    curves = load_curves(tmp_path / "run")
    assert [i for i, y in zip(curves.ids, curves.losses, strict=True) if np.isnan(y).all()] == ["tiny-07"]
    assert curves.provenance["never_seen"] == 1


class Hidden(Trainer):
    """What a fused kernel leaves of the outputs."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        hook = self.model.register_forward_hook(lambda m, a, out: type(out)(loss=out.loss), prepend=True)
        try:
            return super().compute_loss(model, inputs, return_outputs)
        finally:
            hook.remove()


class Aside(Trainer):
    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return torch.zeros(())


class Doubled(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        return super().compute_loss(model, {k: torch.cat([v, v]) for k, v in inputs.items()}, return_outputs)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Hidden, r"BertForSequenceClassification gave no logits .*a fused loss kernel .*hides them"),
        (Doubled, r"gave 10 rows of outputs for 5 examples"),
        (Aside, r"training_step did not call the model"),
    ],
)
def test_trainers_that_hide_what_the_model_said(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, kind: Any, words: str
) -> None:
    trainer = make(kind=kind)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with pytest.raises(ModelError, match=words):
        trainer.train()
    assert not trainer.model._forward_hooks


def test_a_loader_of_the_trainers_own(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    class Own(Trainer):
        def get_train_dataloader(self) -> Any:
            rows = self.train_dataset.remove_columns("id")
            return torch.utils.data.DataLoader(rows, batch_size=5, collate_fn=DataCollatorWithPadding(
                self.processing_class), shuffle=True)  # fmt: skip

    trainer = make(kind=Own)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with pytest.raises(DataError, match="get_train_dataloader does not use its data_collator"):
        trainer.train()


def test_a_stream_needs_the_steps_of_an_epoch(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    for number, options in enumerate(({}, {"steps_per_epoch": 5})):
        trainer = make(max_steps=5)
        trainer.train_dataset = trainer.train_dataset.to_iterable_dataset()
        record_free(trainer, tmp_path / str(number), tiny_dataset, **options)
        if options:
            trainer.train()
        else:
            with pytest.raises(SpecError, match=r"pass record_free\(..., steps_per_epoch=...\)"):
                trainer.train()
    assert np.isfinite(load_curves(tmp_path / "1").losses).sum() == 24


DISTRIBUTED = """
import json, sys
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer,
                          TrainingArguments, set_seed)
from dissensus import AnnotatedDataset
from dissensus.integrations.free import record_free
from dissensus.integrations.outputs import said

folder, out = sys.argv[1:]
data = AnnotatedDataset.from_records(
    [{"id": f"e{i}", "t": " ".join(["box"] * (i + 1)), "gold": "abc"[i % 3], "counts": (1, 1, 1)} for i in range(23)],
    labels=("a", "b", "c"), text=("t",))
tokenizer = AutoTokenizer.from_pretrained(folder)
rows = {**tokenizer([e.text["t"] for e in data]), "labels": data.gold.tolist(), "id": list(data.ids)}
set_seed(0)
trainer = Trainer(
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3),
    TrainingArguments(out + "/t", per_device_train_batch_size=4, num_train_epochs=2, use_cpu=True, report_to="none",
                      save_strategy="steps", save_steps=2, disable_tqdm=True, learning_rate=1e-2),
    train_dataset=Dataset.from_dict(rows), processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer))
seen = []

def look(module, args, kwargs, outputs):
    losses = cross_entropy(outputs.logits.detach(), kwargs["labels"], reduction="none")
    for mask, loss in zip(kwargs["attention_mask"], losses):  # the length says which example it is: [CLS] box ... [SEP]
        seen.append((int(trainer.state.global_step), int(mask.sum()) - 3, float(loss)))

trainer.model.register_forward_hook(look, with_kwargs=True)
record_free(trainer, out + "/run", data)
trainer.train()
open(f"{out}/seen-{trainer.args.process_index}.json", "w").write(json.dumps(seen))
torch.distributed.destroy_process_group()
"""


def test_two_processes(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    """DDP, and batches that Accelerate fills up: 23 examples, 3 steps an epoch of twice 4, so one comes twice."""
    (tmp_path / "script.py").write_text(DISTRIBUTED)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run += [str(tmp_path / "script.py"), str(tiny_encoder_dir), str(tmp_path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    expected = np.full((23, 2), np.nan)
    looks = 0
    for rank in (0, 1):  # the lowest rank's first look stands
        for step, row, loss in json.loads((tmp_path / f"seen-{rank}.json").read_text()):
            looks += 1
            if np.isnan(expected[row, step // 3]):
                expected[row, step // 3] = loss
    assert looks == 48
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [3, 6]
    np.testing.assert_allclose(curves.losses, expected, atol=1e-5)
    assert [e["seen_more_than_once"] for e in curves.provenance["epochs"]] == [1, 1]


def test_labels_that_are_not_one_of_several(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """A head of several labels at once is no softmax, and names in another order are other labels."""
    model = make().model
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ModelError, match="a softmax over them is no probability of a label"):
        said(model, {"logits": torch.zeros(2, 3)}, None, 2)
    other = make()
    other.model.config.id2label = {0: "contradiction", 1: "neutral", 2: "entailment"}
    record_free(other, tmp_path / "order", tiny_dataset)
    with pytest.raises(DataError, match="the same in another order"):
        other.train()
