"""Each method trains what it should, starts where the plain model starts, and leaves the head alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from dissensus.config import MethodSpec, ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel
from dissensus.train.methods import apply_method, trainable_parameters
from tiny import ARCHITECTURES, make_tiny

# What one layer's adapters sit on, by architecture: the names a reader of each paper would expect.
LORA = {
    "bert": {"query", "value"},
    "roberta": {"query", "value"},
    "deberta-v2": {"query_proj", "value_proj"},
    "modernbert": {"Wqkv"},
    "distilbert": {"q_lin", "v_lin"},
    "gpt2": {"c_attn"},
    "qwen2": {"q_proj", "v_proj"},
    "llama": {"q_proj", "v_proj"},
}
IA3 = {
    "bert": {"key", "value", "output.dense"},
    "roberta": {"key", "value", "output.dense"},
    "deberta-v2": {"key_proj", "value_proj", "output.dense"},
    "modernbert": {"Wqkv", "mlp.Wo"},
    "distilbert": {"k_lin", "v_lin", "ffn.lin2"},
    "gpt2": {"c_attn", "mlp.c_proj"},
    "qwen2": {"k_proj", "v_proj", "down_proj"},
    "llama": {"k_proj", "v_proj", "down_proj"},
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def arch_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, make_tiny(request.param, tmp_path_factory.mktemp("models") / request.param)


def build(folder: Path, dataset: AnnotatedDataset, adapter_seed: int = 0, **method: object) -> ScoringModel:
    model = load_scoring_model(
        ModelSpec(name=str(folder), max_length=48), dataset.labels, dataset.fields, head_seed=3
    )
    apply_method(model, MethodSpec.parse({"learning_rate": 1e-3, **method}, "t"), adapter_seed=adapter_seed)
    model.module.eval()
    return model


def logits(model: ScoringModel, dataset: AnnotatedDataset) -> torch.Tensor:
    encoded = model.encode(dataset)
    with torch.no_grad():
        return model.logits(encoded.batch(range(len(encoded)), model.pad_id))


@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_adapters_sit_where_they_should_and_start_as_the_identity(
    name: str, arch_folder: tuple[str, Path], tiny_dataset: AnnotatedDataset
) -> None:
    arch, folder = arch_folder
    rank = {"rank": 4} if name == "lora" else {}
    adapted, plain = build(folder, tiny_dataset, name=name, **rank), build(folder, tiny_dataset, name="full")
    torch.testing.assert_close(
        logits(adapted, tiny_dataset), logits(plain, tiny_dataset), atol=1e-6, rtol=1e-5
    )

    marker = r"\.lora_[AB]\." if name == "lora" else r"\.ia3_l\."
    names = trainable_parameters(adapted.module)
    sites = {re.split(marker, n)[0] for n in names if re.search(marker, n)}
    expected = (LORA if name == "lora" else IA3)[arch]
    assert {next((e for e in expected if s.endswith(e)), s) for s in sites} == expected
    assert not any("attention.output.dense" in s for s in sites)
    # Beyond the adapters only the fresh head is trained, as a copy that PEFT keeps.
    rest = [n for n in names if not re.search(marker, n)]
    assert rest
    assert all("modules_to_save" in n and any(f".{head}." in n for head in adapted.fresh) for n in rest)


@pytest.mark.parametrize(
    "method", [{"name": "lora", "rank": 4}, {"name": "lora", "rank": 2}, {"name": "ia3"}]
)
def test_methods_and_ranks_share_the_head(
    method: dict[str, object], arch_folder: tuple[str, Path], tiny_dataset: AnnotatedDataset
) -> None:
    _, folder = arch_folder
    full = dict(build(folder, tiny_dataset, name="full").module.named_parameters())
    adapted = build(folder, tiny_dataset, adapter_seed=99, **method)
    heads = {
        n.replace("base_model.model.", "").replace("modules_to_save.default.", ""): p
        for n, p in trainable_parameters(adapted.module).items()
        if "modules_to_save" in n
    }
    assert heads
    assert all(torch.equal(p, full[n]) for n, p in heads.items())


def test_adapter_weights_depend_on_their_seed_alone(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    torch.manual_seed(1)
    first = trainable_parameters(build(tiny_encoder_dir, tiny_dataset, 5, name="lora", rank=4).module)
    torch.manual_seed(2)
    again = trainable_parameters(build(tiny_encoder_dir, tiny_dataset, 5, name="lora", rank=4).module)
    other = trainable_parameters(build(tiny_encoder_dir, tiny_dataset, 6, name="lora", rank=4).module)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not all(torch.equal(first[n], other[n]) for n in first)


def test_full_trains_every_weight(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    module = build(tiny_encoder_dir, tiny_dataset, name="full").module
    assert len(trainable_parameters(module)) == len(list(module.parameters()))


def test_distilberts_head_is_fresh_as_a_whole(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    folder = make_tiny("distilbert", tmp_path / "distilbert")
    model = build(folder, tiny_dataset, name="lora", rank=2)
    assert set(model.fresh) == {"pre_classifier", "classifier"}
    heads = {n for n in trainable_parameters(model.module) if "modules_to_save" in n}
    assert {n.split(".modules_to_save")[0].rpartition(".")[2] for n in heads} == set(model.fresh)


def test_what_else_is_trained_goes_by_the_end_of_its_name(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """As PEFT has it, `classifier` also means `pre_classifier`; what is not named stays as it was drawn."""
    folder = make_tiny("distilbert", tmp_path / "distilbert")

    def beside(where: Path, *also: str) -> set[str]:
        module = build(where, tiny_dataset, name="lora", rank=2, also_train=also).module
        names = [n for n in trainable_parameters(module) if "lora_" not in n]
        assert all("modules_to_save" in n for n in names)
        return {n.split(".modules_to_save")[0].removeprefix("base_model.model.") for n in names}

    assert beside(folder, "classifier") == {"pre_classifier", "classifier"}
    assert beside(folder, "pre_classifier") == {"pre_classifier"}
    assert beside(folder) == set()
    # Of a BERT whose file has a pooler or lacks one, the pooler alone, or the classifier without it.
    assert beside(tiny_encoder_dir, "classifier") == {"classifier"}
    assert beside(tiny_encoder_dir, "bert.pooler.dense") == {"bert.pooler.dense"}
    with pytest.raises(ModelError, match=r"also_train names 'clasifier', which is no module of this model"):
        beside(folder, "clasifier")


def test_what_is_trained_whole_is_trained_from_the_numbers_that_it_has(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    full = dict(build(tiny_encoder_dir, tiny_dataset, name="full").module.named_parameters())
    adapted = build(tiny_encoder_dir, tiny_dataset, name="ia3", also_train=("classifier",)).module
    heads = {n: p for n, p in trainable_parameters(adapted).items() if "modules_to_save" in n}
    assert len(heads) == 2
    for name, parameter in heads.items():
        plain = name.replace("base_model.model.", "").replace("modules_to_save.default.", "")
        assert torch.equal(parameter, full[plain])


def test_ia3_scales_the_input_of_what_is_named_feedforward(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    """`intermediate.dense` maps 32 to 64: its output has 64 scales, its input 32. A target's output is the default."""
    targets = ("query", "value", "intermediate.dense")

    def scales(**how: object) -> dict[str, int]:
        module = build(tiny_encoder_dir, tiny_dataset, name="ia3", targets=targets, **how).module
        counted = {n: p.numel() for n, p in trainable_parameters(module).items() if "ia3_l" in n}
        return {n.split(".layer.1.")[1].split(".ia3_l")[0]: k for n, k in counted.items() if ".layer.1." in n}

    within = {"attention.self.query": 32, "attention.self.value": 32}
    assert scales() == {**within, "intermediate.dense": 64}
    assert scales(feedforward=("intermediate.dense",)) == {**within, "intermediate.dense": 32}
    assert scales(feedforward=()) == {**within, "intermediate.dense": 64}


def test_explicit_targets_are_taken(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    for method in ({"name": "lora", "rank": 2}, {"name": "ia3"}):
        names = trainable_parameters(build(tiny_encoder_dir, tiny_dataset, targets=("key",), **method).module)
        assert all(".key." in n or "modules_to_save" in n for n in names)


def test_targets_that_match_nothing_are_an_error(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    with pytest.raises(ModelError, match="match no module"):
        build(tiny_encoder_dir, tiny_dataset, name="lora", rank=2, targets=("q_proj",))
