"""Run by `test_distributed.py` under torchrun: every scenario with the processes that there are.

Each process names a folder of its own for the curves, so that whoever writes besides the first leaves a trace. The
first one keeps the weights at every step (`weights.pt`), from which the test measures again in one process.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from dissensus import AnnotatedDataset, CurveRecorder
from dissensus.data.sources.simulated import SimulatedSource, load
from dissensus.errors import StoreError
from dissensus.integrations.transformers import record
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.probes.preferences import PreferenceProbe

STEPS, CUT, CHECKPOINT = 6, 4, 2


def tracked() -> AnnotatedDataset:
    """23 examples, which two processes cannot share evenly."""
    return load(SimulatedSource(size=23))


def classifier(folder: Path) -> tuple[Any, Any]:
    set_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    with torch.no_grad():
        model.classifier.weight.mul_(30)  # so that no two examples have one loss
    return model, AutoTokenizer.from_pretrained(folder)


def preferences(folder: Path) -> tuple[Any, PreferenceProbe]:
    """A decoder, and 11 pairs whose margin refers to what was measured at step 0."""
    set_seed(0)
    examples = list(tracked())[:11]
    rows = [
        {"id": e.id, "prompt": e.text["premise"], "chosen": e.text["hypothesis"], "rejected": "no", "votes": (3, 1)}
        for e in examples
    ]  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder)
    probe = PreferenceProbe.from_texts(PreferenceProbe.pairs(rows), tokenizer, how="dpo")
    return AutoModelForCausalLM.from_pretrained(folder), probe


def one_by_one(model: Any, tokenizer: Any, dataset: AnnotatedDataset) -> np.ndarray:
    """Each example's loss by the model's own forward pass, alone."""
    was = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        pairs = [(e.text["premise"], e.text["hypothesis"]) for e in dataset]
        logits = torch.cat([model(**tokenizer(*pair, return_tensors="pt")).logits for pair in pairs])
    model.train(was)
    log_probs = logits.double().log_softmax(-1).numpy()
    return -log_probs[np.arange(len(dataset)), dataset.gold]


class Loop:
    """A plain DDP loop over the processes' own random batches, interrupted or resumed."""

    def __init__(self, out: Path, name: str, model: Any) -> None:
        self.rank = dist.get_rank()
        self.out = out / name
        self.path = self.out / ("curves" if self.rank == 0 else f"curves-of-{self.rank}")
        self.model = DistributedDataParallel(model)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        self.weights: dict[int, Any] = {}

    def run(self, recorder: CurveRecorder, tokenizer: Any, *, begin: int = 0, end: int = STEPS) -> None:
        if self.rank:
            try:
                recorder.writer  # noqa: B018
            except StoreError:
                pass
            else:
                raise AssertionError("a later process has a store")
        if begin:
            self.model.module.load_state_dict(
                torch.load(self.out / f"checkpoint-{begin}.pt", weights_only=True)
            )
            recorder.rewind(begin)
        self.look(recorder, begin)
        for step in range(begin + 1, end + 1):
            self.step(step)
            self.look(recorder, step)
        recorder.flush() if end < STEPS else recorder.finish()
        self.keep(begin)

    def step(self, step: int) -> None:
        torch.manual_seed(100 * step + self.rank)  # each process its own batch
        batch = torch.randint(5, 50, (4, 12))
        self.model.train()
        out = self.model(input_ids=batch)
        out.logits.float().log_softmax(-1)[..., step % 3].mean().neg().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def keep(self, begin: int) -> None:
        if self.rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            torch.save(self.weights, self.out / f"weights-from-{begin}.pt")
        dist.barrier()

    def look(self, recorder: CurveRecorder, step: int) -> None:
        recorder.step(self.model, step)
        if self.rank == 0:
            self.weights[step] = {k: v.clone() for k, v in self.model.module.state_dict().items()}
            if step == CHECKPOINT:
                self.out.mkdir(parents=True, exist_ok=True)
                torch.save(self.weights[step], self.out / f"checkpoint-{step}.pt")


def loops(args: argparse.Namespace) -> None:
    """`whole` in small batches, `few` in one batch for all, `cut` and `pairs` interrupted, or taken up again."""
    again = args.part == "resume"
    span: dict[str, int] = {"begin": CHECKPOINT} if again else {"end": CUT}
    for name, budget in (("whole", 64), ("few", 100_000), ("cut", 64)):
        if again and name != "cut":
            continue
        model, tokenizer = classifier(args.encoder)
        loop = Loop(args.out, name, model)
        recorder = CurveRecorder(
            loop.path, tracked(), tokenizer=tokenizer, total_steps=STEPS, points=STEPS + 1, token_budget=budget,
            resume=again,
        )  # fmt: skip
        loop.run(recorder, tokenizer, **(span if name == "cut" else {}))
    decoder, probe = preferences(args.decoder)
    loop = Loop(args.out, "pairs", decoder)
    recorder = CurveRecorder(loop.path, probe, total_steps=STEPS, points=STEPS + 1, resume=again)
    loop.run(recorder, None, **span)


class ShardedLoop(Loop):
    """The same with weights of which each process holds a part (`fully_shard`), by its layers and the rest."""

    def __init__(self, out: Path, name: str, model: Any) -> None:
        self.rank = dist.get_rank()
        self.out = out / name
        self.path = self.out / ("curves" if self.rank == 0 else f"curves-of-{self.rank}")
        self.model, self.weights = model, {}
        for stack in [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]:
            for layer in stack:
                fully_shard(layer)
        fully_shard(model)
        self.optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)

    def look(self, recorder: CurveRecorder | None, step: int) -> None:
        if recorder is not None:
            recorder.step(self.model, step)
            kinds = {type(p).__name__ for p in self.model.parameters()}
            assert kinds == {"DTensor"}, kinds  # nothing stays gathered
        found = self.model.state_dict()
        self.weights[step] = {k: getattr(v, "full_tensor", v.clone)() for k, v in found.items()}


def adapted(model: Any) -> Any:
    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["classifier"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, config)


def completions(folder: Path) -> tuple[Any, CompletionProbe]:
    """A decoder, and what it says after each tracked pair."""
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    probe = CompletionProbe.from_texts(
        tracked(), tokenizer, prompt="{premise} question {hypothesis}", completion=" yes", add_eos=False
    )
    return AutoModelForCausalLM.from_pretrained(folder), probe


def sharded(args: argparse.Namespace) -> None:
    """Sharded models: `sharded-few` has one batch for all, `sharded-lora` adapters; one is not recorded."""
    for name, budget in (("sharded-lora", 64), ("sharded-few", 100_000), ("sharded-unrecorded", None)):
        model, tokenizer = classifier(args.encoder)
        loop = ShardedLoop(args.out, name, adapted(model) if name == "sharded-lora" else model)
        if budget is None:
            for step in range(1, STEPS + 1):
                loop.step(step)
            loop.look(None, STEPS)
            loop.keep(0)
            continue
        recorder = CurveRecorder(
            loop.path,
            tracked(),
            tokenizer=tokenizer,
            total_steps=STEPS,
            points=STEPS + 1,
            token_budget=budget,
        )
        loop.run(recorder, tokenizer)
    decoder, probe = completions(args.decoder)
    loop = ShardedLoop(args.out, "sharded-texts", decoder)
    recorder = CurveRecorder(loop.path, probe, total_steps=STEPS, points=STEPS + 1, token_budget=200)
    loop.run(recorder, None)


def failing(args: argparse.Namespace) -> None:
    """One process cannot measure, or cannot write: all stop recording at one point, and none waits for the others."""
    for name in ("pass", "disk"):
        model, tokenizer = classifier(args.encoder)
        loop = Loop(args.out, f"failing-{name}", model)
        rank, now = dist.get_rank(), [0]

        def score(model: Any, batch: Any, now: list[int] = now, rank: int = rank, name: str = name) -> Any:
            if (name, rank, now[0]) == ("pass", 1, 3):
                raise RuntimeError("out of memory")
            return model(**batch).logits

        recorder = CurveRecorder(
            loop.path,
            LabelProbe(tracked(), tokenizer=tokenizer, score=score),
            total_steps=STEPS,
            points=STEPS + 1,
            token_budget=64,
        )
        if (name, rank) == ("disk", 0):
            write = recorder.writer.write

            def full(step: int, *rest: Any, write: Any = write, **more: Any) -> None:
                if step == 3:
                    raise OSError(28, "No space left on device")
                write(step, *rest, **more)

            recorder.writer.write = full  # type: ignore[method-assign]
        recorder.step(loop.model, 0)
        for step in range(1, STEPS + 1):
            loop.step(step)
            now[0] = step
            recorder.step(loop.model, step)
            recorder.flush()
        recorder.finish()
        stopped = recorder.stopped or ""
        (args.out / f"failing-{name}-{rank}.txt").write_text(stopped)
        dist.barrier()


class Spy(TrainerCallback):
    """The first process' one-by-one losses at every step, and all processes' random state at the end."""

    def __init__(self, dataset: AnnotatedDataset) -> None:
        self.dataset, self.losses = dataset, {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on_step_end(args, state, control, **kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.losses[state.global_step] = one_by_one(
                kwargs["model"], kwargs["processing_class"], self.dataset
            )


def trainer(args: argparse.Namespace, *, recorded: bool) -> None:
    """`transformers.Trainer`, with and without the recorder, in half precision as well."""
    dataset = tracked()
    model, tokenizer = classifier(args.encoder)
    pairs = tokenizer([e.text["premise"] for e in dataset], [e.text["hypothesis"] for e in dataset])
    name = "trainer" if recorded else "unrecorded"
    arguments = TrainingArguments(
        args.out / name / "checkpoints", max_steps=STEPS, per_device_train_batch_size=3, learning_rate=1e-2,
        use_cpu=True, report_to="none", save_strategy="no", logging_steps=2, disable_tqdm=True, ddp_backend="gloo",
    )  # fmt: skip
    spy = Spy(dataset)
    made = Trainer(
        model, arguments, train_dataset=Dataset.from_dict({**pairs, "labels": dataset.gold.tolist()}),
        processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer), callbacks=[spy],
    )  # fmt: skip
    rank = dist.get_rank()
    if recorded:
        path = args.out / name / ("curves" if rank == 0 else f"curves-of-{rank}")
        record(made, path, dataset, points=4)
    made.train()
    if rank == 0:
        (args.out / name).mkdir(parents=True, exist_ok=True)
        torch.save(made.model.state_dict(), args.out / name / "weights.pt")
        np.savez(args.out / name / "spy.npz", **{str(step): losses for step, losses in spy.losses.items()})
    dist.barrier()


def lightning(args: argparse.Namespace) -> None:
    """Lightning's trainer with its DDP strategy; its sampler pads the processes' shares of the training data."""
    if find_spec("lightning") is None:
        return
    import lightning.pytorch as pl

    from dissensus.integrations.lightning import CurveCallback

    dataset, spied = tracked(), {}

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.tokenizer = classifier(args.encoder)

        def training_step(self, batch: Any) -> torch.Tensor:
            return self.model(**batch).loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class LightningSpy(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            if trainer.is_global_zero:
                spied[trainer.global_step] = one_by_one(pl_module.model, pl_module.tokenizer, dataset)

    module = Module()

    def collate(rows: list[Any]) -> dict[str, Any]:
        texts = [[e.text[field] for e in rows] for field in dataset.fields]
        batch = module.tokenizer(*texts, padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([e.gold for e in rows])}

    rank = dist.get_rank()
    out = args.out / "lightning"
    callback = CurveCallback(
        out / ("curves" if rank == 0 else f"curves-of-{rank}"),
        dataset,
        model="model",
        points=4,
        token_budget=64,
    )
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=STEPS, callbacks=[callback, LightningSpy()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=out,
    )  # fmt: skip
    trainer.fit(
        module, torch.utils.data.DataLoader(list(dataset), batch_size=3, shuffle=True, collate_fn=collate)
    )
    if rank == 0:
        np.savez(out / "spy.npz", **{str(step): losses for step, losses in spied.items()})
    dist.barrier()


def main() -> None:
    """Run a part: `begin`, or `resume` what it left interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("begin", "resume"))
    for name in ("--encoder", "--decoder", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    loops(args)
    if args.part == "begin":
        failing(args)
        sharded(args)
        for recorded in (False, True):
            trainer(args, recorded=recorded)
        lightning(args)
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
