"""What training puts around a model or into it changes nothing that is recorded, and is there again afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from dissensus import AnnotatedDataset, CurveRecorder, load_curves
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.labels import LabelProbe

LORA = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])
STEPS = 4


@pytest.fixture
def make(tiny_encoder_dir: Path) -> Callable[..., Any]:
    def classifier(*, lora: bool = False) -> Any:
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
        return (get_peft_model(model, LORA) if lora else model).train()

    return classifier


@pytest.fixture
def losses(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> Callable[..., np.ndarray]:
    """Trains for 4 steps (unless `record` is False, recorded at each) and gives the losses recorded, (n, 5)."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    runs = iter(range(99))

    def trained(model: Any, *, record: bool = True, **options: Any) -> np.ndarray:
        path = tmp_path / f"run-{next(runs)}"
        recorder = CurveRecorder(
            path,
            LabelProbe(tiny_dataset, tokenizer=tokenizer, **options),
            total_steps=STEPS,
            points=STEPS + 1,
            token_budget=64,
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for step in range(STEPS + 1):
            if step:
                torch.manual_seed(step)
                batch = {"input_ids": torch.randint(5, 50, (4, 12)), "labels": torch.tensor([0, 1, 2, 1])}
                model(**batch).loss.mean().backward()
                optimizer.step()
                optimizer.zero_grad()
            if record:
                recorder.step(model, step)
        if not record:
            return np.empty(0)
        recorder.finish()
        found = load_curves(path).losses
        assert np.abs(found[:, -1] - found[:, 0]).max() > 1e-3
        return found

    return trained


def padded(model: Any, batch: Any) -> torch.Tensor:
    """The model's own forward pass, which a compiled model compiles for each new shape."""
    logits: torch.Tensor = model(**batch).logits
    return logits


def compiled(model: Any, how: str) -> tuple[Any, list[int]]:
    """The model, compiled in one of the ways that there are, and a list that grows by one at each compilation."""
    count: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        count.append(1)
        return graph.forward  # as backend="eager" does

    torch._dynamo.reset()
    if how == "around":
        return torch.compile(model, backend=backend), count
    if how == "in place":
        model.compile(backend=backend)
    elif how == "its blocks":
        for module in model.modules():
            if type(module).__name__ == "BertLayer":
                module.compile(backend=backend)
    else:
        model = pytest.importorskip("accelerate.utils").compile_regions(model, backend=backend)
    return model.train(), count


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's own
@pytest.mark.parametrize(
    ("how", "lora", "score"),
    [
        ("around", False, None),
        ("around", False, padded),
        ("in place", False, None),
        ("its blocks", False, padded),
        ("its regions", False, None),
        ("its blocks", True, None),
    ],
)
def test_a_compiled_model_is_not_compiled_anew(
    make: Any, losses: Any, how: str, lora: bool, score: Any
) -> None:
    expected = losses(make(lora=lora), score=score)
    plain, before = compiled(make(lora=lora), how)
    losses(plain, record=False)
    recorded, count = compiled(make(lora=lora), how)
    np.testing.assert_allclose(losses(recorded, score=score), expected, atol=1e-6)
    assert len(before) > 0
    assert len(count) == len(before)


def test_data_parallel(make: Any, losses: Any) -> None:
    np.testing.assert_array_equal(losses(nn.DataParallel(make())), losses(make()))


def test_gradient_checkpointing(make: Any, losses: Any) -> None:
    model = make()
    name = "activation_checkpointing_enable"  # since transformers 5.23
    getattr(model, name, model.gradient_checkpointing_enable)()
    np.testing.assert_allclose(losses(model), losses(make()), atol=1e-6)
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@pytest.mark.parametrize("score", [None, padded])
def test_an_autocast_that_the_loop_is_in_does_not_round_the_curves(
    make: Any, tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, score: Any
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    found = []
    for enabled in (False, True):
        recorder = CurveRecorder(
            tmp_path / str(enabled), LabelProbe(tiny_dataset, tokenizer=tokenizer, score=score), total_steps=1
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            recorder.step(make(), 0)
            assert torch.is_autocast_enabled("cpu") is enabled
        recorder.flush()
        found.append(recorder.writer.log_probs(0))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.fixture
def accelerator() -> Iterator[Any]:
    accelerate = pytest.importorskip("accelerate")
    state = accelerate.state.AcceleratorState
    state._reset_state(True)  # one per process otherwise, whoever made it first
    yield accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    state._reset_state(True)


@pytest.mark.parametrize("score", [None, padded])
def test_accelerate_in_half_precision(
    make: Any, tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, accelerator: Any, score: Any
) -> None:  # fmt: skip
    """Training computes in bf16; what is recorded is what the fp32 weights give in fp32."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    model = accelerator.prepare(make())
    heads: list[torch.dtype] = []
    model.classifier.register_forward_hook(lambda module, given, out: heads.append(out.dtype))
    recorder = CurveRecorder(
        tmp_path, LabelProbe(tiny_dataset, tokenizer=tokenizer, score=score), total_steps=1
    )
    recorder.step(model, 0)
    recorder.flush()
    assert set(heads) <= {torch.float32}
    heads.clear()
    model(input_ids=torch.tensor([[5, 6, 7]]))
    assert heads == [torch.bfloat16]  # the wrapper is there again
    np.testing.assert_allclose(
        recorder.writer.log_probs(0), one_by_one(make(), tokenizer, tiny_dataset), atol=1e-5
    )


def one_by_one(model: Any, tokenizer: Any, dataset: AnnotatedDataset) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        pairs = [(e.text["premise"], e.text["hypothesis"]) for e in dataset]
        logits = torch.cat([model(**tokenizer(*pair, return_tensors="pt")).logits for pair in pairs])
    return logits.double().log_softmax(-1).numpy()


def test_a_four_bit_base_with_lora(
    tiny_decoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """bitsandbytes computes on the CPU as well; its layers are left as they are, and so are PEFT's on top of them."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForCausalLM.from_pretrained(
            tiny_decoder_dir, quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map="cpu"
        )
    layers = [module for module in base.modules() if type(module).__name__ == "Linear4bit"]
    assert layers
    for layer in layers:
        # As on a CPU that has it, where a pass in eval() mode would change the weights for good.
        layer.support_avx512bf16_for_cpu = True
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]))
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    probe = CompletionProbe.from_texts(
        tiny_dataset, tokenizer, prompt="{premise} question {hypothesis}", completion=" yes", add_eos=False
    )
    recorder = CurveRecorder(tmp_path, probe, total_steps=2, points=3)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    model.train()
    expected = []
    held = [layer.weight.data.clone() for layer in layers]
    for step in range(3):
        if step:
            ids = torch.randint(5, 90, (2, 9), generator=torch.Generator().manual_seed(step))
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        recorder.step(model, step)
        expected.append([answer(model, tokenizer, e) for e in tiny_dataset])
        assert all(map(torch.equal, held, (layer.weight.data for layer in layers)))
        assert all(layer.support_avx512bf16_for_cpu for layer in layers)
    recorder.finish()
    found = load_curves(tmp_path).losses
    np.testing.assert_allclose(found, np.array(expected).T, atol=1e-5)
    assert np.abs(found[:, -1] - found[:, 0]).max() > 1e-3


def answer(model: Any, tokenizer: Any, example: Any) -> float:
    """-log p(' yes') after an example's prompt, alone; in train() mode, for there is no dropout."""
    prompt = tokenizer(f"{example.text['premise']} question {example.text['hypothesis']}")["input_ids"]
    whole = [*prompt, *tokenizer(" yes", add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return -sum(float(log_probs[at - 1, whole[at]]) for at in range(len(prompt), len(whole)))
