"""Folded adapters: PEFT's numbers, PEFT's gradients, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from dissensus.models.merging import folded_adapters, lean_lora
from tiny import make_tiny

# PEFT asks transformers by a name that transformers is about to retire.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TARGETS = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]}
FEEDFORWARD = {"bert": ["output.dense"], "llama": ["down_proj"], "gpt2": ["mlp.c_proj"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {arch: make_tiny(arch, tmp_path_factory.mktemp("merging") / arch) for arch in TARGETS}


def adapted(folder: Path, arch: str, kind: str, **options: Any) -> Any:
    """A model in float64 with adapters that do something, as PEFT leaves it."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    model.config.pad_token_id = 0
    if kind == "lora":
        options.setdefault("r", 4)
        config: Any = peft.LoraConfig(target_modules=TARGETS[arch], fan_in_fan_out=arch == "gpt2", **options)
    else:
        config = peft.IA3Config(
            target_modules=TARGETS[arch] + FEEDFORWARD[arch],
            feedforward_modules=FEEDFORWARD[arch],
            fan_in_fan_out=arch == "gpt2",
        )
    model = peft.get_peft_model(model, config).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "ia3_l" in name:
                parameter.add_(0.5 * torch.randn_like(parameter))
    return model.eval()


IDS = torch.arange(5, 29).view(3, 8)


def logits(model: Any) -> torch.Tensor:
    out: torch.Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return out


@pytest.mark.parametrize("kind", ["lora", "ia3"])
@pytest.mark.parametrize("arch", TARGETS)
def test_folded_adapters_give_pefts_numbers_and_leave_nothing_behind(
    arch: str, kind: str, folders: dict[str, Path]
) -> None:
    model = adapted(folders[arch], arch, kind)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    forwards = {n: m.__dict__.get("forward") for n, m in model.named_modules()}
    with torch.no_grad():
        plain = logits(model)
        with folded_adapters(model):
            folded = logits(model)
            layers = [m for m in model.modules() if "forward" in m.__dict__]
            assert len(layers) > 1
        again = logits(model)
        with model.disable_adapter():
            assert (logits(model) - plain).abs().max() > 1e-3  # the adapters matter
    torch.testing.assert_close(folded, plain, atol=1e-10, rtol=0)
    assert torch.equal(again, plain)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    assert {n: m.__dict__.get("forward") for n, m in model.named_modules()} == forwards


def test_what_is_more_than_a_product_is_left_to_peft(folders: dict[str, Path]) -> None:
    model = adapted(folders["bert"], "bert", "lora", use_dora=True)
    with torch.no_grad():
        plain = logits(model)
        with folded_adapters(model):
            assert torch.equal(logits(model), plain)
    assert lean_lora(model) == 0
    assert lean_lora(adapted(folders["bert"], "bert", "lora", lora_dropout=0.1)) == 0


def test_folding_is_undone_when_the_pass_fails(folders: dict[str, Path]) -> None:
    model = adapted(folders["bert"], "bert", "lora")
    with pytest.raises(RuntimeError, match="in the pass"), folded_adapters(model):
        raise RuntimeError("in the pass")
    assert not any("forward" in m.__dict__ for m in model.modules())


@pytest.mark.parametrize("arch", TARGETS)
def test_lean_lora_trains_on_pefts_gradients(arch: str, folders: dict[str, Path]) -> None:
    results = []
    for lean in (False, True):
        model = adapted(folders[arch], arch, "lora")
        if lean:
            assert lean_lora(model) == len([n for n, _ in model.named_modules() if n.endswith("lora_A")])
        out = logits(model)
        (out * torch.arange(9.0).view(3, 3).sin()).sum().backward()
        results.append((out.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-10, rtol=0)
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, atol=1e-10, rtol=1e-9)


def test_a_lean_layer_heeds_its_owner(folders: dict[str, Path]) -> None:
    """Adapters that are switched off, or half precision: the layer computes as PEFT has it."""
    model, plain = (adapted(folders["bert"], "bert", "lora").float() for _ in range(2))
    plain.load_state_dict(model.state_dict())
    assert lean_lora(model) > 0
    with torch.no_grad():
        with model.disable_adapter(), plain.disable_adapter():
            assert torch.equal(logits(model), logits(plain))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(logits(model), logits(plain))
        assert not torch.equal(logits(model), logits(plain))  # else the lines above say nothing
        torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("arch", TARGETS)
def test_a_bf16_pass_rounds_and_is_gone(arch: str, folders: dict[str, Path]) -> None:
    model = adapted(folders[arch], arch, "lora").float()
    with torch.no_grad():
        exact = logits(model)
        with folded_adapters(model, "bf16"), torch.autocast("cpu", torch.bfloat16):
            rounded = logits(model).float()
        assert torch.equal(logits(model), exact)
    assert 0 < (rounded - exact).abs().max() < 0.2 * exact.abs().max()
