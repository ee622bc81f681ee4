"""A checkpoint whose weights do not fill the model is refused by name; only a scoring head may start fresh."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dissensus.config import ModelSpec
from dissensus.errors import ModelError
from dissensus.models.loading import check_weights, load_scoring_model
from dissensus.models.scoring import ScoringModel
from tiny import ARCHITECTURES, make_tiny

Weights = dict[str, Tensor]
LABELS = ("a", "b", "c")


def load(folder: Path, *, labels: tuple[str, ...] = LABELS, **spec: object) -> ScoringModel:
    given = ModelSpec.parse({"name": str(folder), "max_length": 48, **spec}, "test")
    loaded = load_scoring_model(given, labels, ("premise", "hypothesis"), head_seed=3)
    check_weights(given)  # what loads is not refused beforehand
    return loaded


def changed(folder: Path, out: Path, change: Callable[[Weights], Weights], **config: object) -> Path:
    """A copy of a model's folder with other weights and settings."""
    shutil.copytree(folder, out, dirs_exist_ok=True)
    weights = change(load_file(out / "model.safetensors"))
    save_file({name: value.contiguous() for name, value in weights.items()}, out / "model.safetensors")
    if config:
        settings = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(settings | config))
    return out


def refused(folder: Path, *, beforehand: bool = True, **spec: object) -> str:
    """What is said, by the headers of the files alone just as by loading them."""
    with pytest.raises(ModelError) as caught:
        load(folder, **spec)  # type: ignore[arg-type]
    given = ModelSpec.parse({"name": str(folder), "max_length": 48, **spec}, "test")
    if beforehand:
        with pytest.raises(ModelError) as told:
            check_weights(given)
        assert str(told.value) == str(caught.value)
    else:
        check_weights(given)
    return str(caught.value)


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


def without(pattern: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if not re.search(pattern, name)}


def same_weights(one: ScoringModel, other: ScoringModel) -> bool:
    left, right = one.module.state_dict(), other.module.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "model."]
)
def test_the_prefixes_of_wrappers_are_stripped_with_a_word(
    any_folder: Path, tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = load(any_folder)
    wrapped = load(changed(any_folder, tmp_path / "m", prefixed(prefix)))
    assert same_weights(wrapped, plain)  # the head too: it is drawn from the same seed
    assert wrapped.fingerprint == plain.fingerprint
    assert wrapped.fresh == plain.fresh
    for part in prefix.split(".")[:-1]:
        assert any(note.startswith(f"the prefix '{part}.' (") for note in wrapped.notes)
        assert f"the prefix '{part}.' (" in caplog.text


def test_a_prefix_in_the_middle_of_a_name_is_stripped(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    def each_layer(weights: Weights) -> Weights:  # layers that were compiled one by one
        return {re.sub(r"(layer\.\d+)\.", r"\1._orig_mod.", name): value for name, value in weights.items()}

    found = load(changed(tiny_encoder_dir, tmp_path / "m", each_layer))
    assert same_weights(found, load(tiny_encoder_dir))
    # Two layers of 16 tensors each: 32 names.
    assert "the prefix '_orig_mod.' (torch.compile) was stripped from the names of 32 weights" in found.notes


def test_prefixes_are_stripped_under_a_base_in_bf16_and_for_label_words(
    tiny_decoder_dir: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_decoder_dir, tmp_path / "m", prefixed("_orig_mod."))
    assert same_weights(load(folder, dtype="bf16"), load(tiny_decoder_dir, dtype="bf16"))
    words = {"head": "verbalizer", "label_words": ("yes", "no", "maybe")}
    assert load(folder, **words).fingerprint == load(tiny_decoder_dir, **words).fingerprint


def test_weights_in_shards_lose_their_prefixes_too(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_encoder_dir, tmp_path / "m")
    weights = {f"module.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
    for shard, members in shards.items():
        save_file({name: weights[name] for name in members}, folder / shard)
    index = {"weight_map": {name: shard for shard, members in shards.items() for name in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, **index}))
    assert same_weights(load(folder), load(tiny_encoder_dir))
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refused(folder)


def test_one_weight_under_two_names_is_refused(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    def twice(weights: Weights) -> Weights:
        name = "bert.embeddings.word_embeddings.weight"
        return weights | {f"_orig_mod.{name}": weights[name] + 1}

    said = refused(changed(tiny_encoder_dir, tmp_path / "m", twice))
    assert "which are one weight ('bert.embeddings.word_embeddings.weight')" in said


LAST_LAYER = {
    "bert": r"\.layer\.1\.",
    "roberta": r"\.layer\.1\.",
    "deberta-v2": r"\.layer\.1\.",
    "modernbert": r"\.layers\.1\.",
    "distilbert": r"\.layer\.1\.",
    "gpt2": r"\.h\.1\.",
    "qwen2": r"\.layers\.1\.",
    "llama": r"\.layers\.1\.",
}


def test_a_missing_layer_is_named_in_every_architecture(any_folder: Path, tmp_path: Path) -> None:
    said = refused(changed(any_folder, tmp_path / "m", without(LAST_LAYER[any_folder.name])))
    layer = LAST_LAYER[any_folder.name].replace("\\", "")[:-1]
    assert re.search(rf"Missing from the file: \S+{re.escape(layer)} \(\d+ tensors\)", said)
    assert "config.json asks for 2 layers, and the file holds 1" in said


@pytest.mark.parametrize("head", ["classifier", "verbalizer"])
def test_embeddings_that_are_missing_are_named(tiny_decoder_dir: Path, tmp_path: Path, head: str) -> None:
    # The tiny Llama's word embeddings are its output's too, unless its configuration says otherwise.
    folder = changed(
        tiny_decoder_dir, tmp_path / "m", without(r"embed_tokens|lm_head"), tie_word_embeddings=False
    )
    said = refused(
        folder, head=head, **({"label_words": ("yes", "no", "maybe")} if head == "verbalizer" else {})
    )
    assert "Missing from the file: model.embed_tokens (1 tensor)" in said
    assert ("lm_head (1 tensor)" in said) == (head == "verbalizer")
    assert "The file is incomplete" in said


def test_an_output_that_is_tied_to_the_embeddings_is_not_missing(any_folder: Path, tmp_path: Path) -> None:
    if any_folder.name not in ("gpt2", "qwen2", "llama"):
        return
    embeddings = r"wte\.weight|embed_tokens\.weight"

    def tied(weights: Weights) -> Weights:
        return without(r"^lm_head\.")(weights)

    folder = changed(any_folder, tmp_path / "m", tied, tie_word_embeddings=True)
    model = load(folder, head="verbalizer", label_words=("yes", "no", "maybe"))
    assert model.fresh == ()
    held = load_file(folder / "model.safetensors")
    (name,) = (key for key in held if re.search(embeddings, key))
    assert torch.equal(model.base.get_output_embeddings().weight, held[name])


def test_a_file_without_one_weight_of_the_model_is_refused(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    said = refused(changed(tiny_encoder_dir, tmp_path / "a", lambda _: {"other.weight": torch.zeros(2)}))
    assert "No weight of the model's body is in the file" in said
    assert "'other.weight'" in said
    said = refused(changed(tiny_encoder_dir, tmp_path / "b", prefixed("student.")))
    assert "'student.bert.embeddings.LayerNorm.bias'" in said
    assert "model.save_pretrained(FOLDER)" in said


def test_a_configuration_of_more_layers_than_the_file_is_refused(
    tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    said = refused(changed(tiny_encoder_dir, tmp_path / "m", lambda weights: weights, num_hidden_layers=4))
    # 2 of 4 layers are there; 16 tensors each.
    assert "bert.encoder.layer.2 (16 tensors), bert.encoder.layer.3 (16 tensors)" in said
    assert "config.json asks for 4 layers, and the file holds 2" in said


def test_a_configuration_of_fewer_layers_than_the_file_is_refused(
    tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    said = refused(changed(tiny_encoder_dir, tmp_path / "m", lambda weights: weights, num_hidden_layers=1))
    assert "without a place in the model: bert.encoder.layer.1 (16 tensors)" in said
    assert "config.json asks for 1 layers" not in said
    assert "config.json asks for 1 layer, and the file holds more" in said


def test_weights_that_show_another_architecture_are_refused(any_folder: Path, tmp_path: Path) -> None:
    layer = LAST_LAYER[any_folder.name].replace("\\", "")

    def normed(weights: Weights) -> Weights:  # as Qwen 3 has beyond Qwen 2
        (start,) = {name[: name.index(layer) + len(layer)] for name in weights if layer in name}
        return weights | {f"{start}attn.q_norm.weight": torch.ones(4)}

    said = refused(changed(any_folder, tmp_path / "m", normed))
    assert re.search(r"without a place in the model: \S+1 \(1 tensor\)", said)


def test_files_without_the_prefix_of_the_body_load_and_are_judged_alike(
    tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    def body(weights: Weights) -> Weights:
        return {n.removeprefix("bert."): v for n, v in weights.items() if n.startswith("bert.")}

    plain = changed(tiny_encoder_dir, tmp_path / "a", body)
    assert same_weights(load(plain), load(tiny_encoder_dir))
    said = refused(changed(plain, tmp_path / "b", lambda weights: weights, num_hidden_layers=1))
    assert "without a place in the model: " in said
    assert "encoder.layer.1 (16 tensors)" in said
    assert "bert.encoder.layer.1" in refused(changed(plain, tmp_path / "c", without(r"layer\.1\.")))


def test_buffers_of_old_checkpoints_are_neither_missing_nor_left_over(
    tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    def old(weights: Weights) -> Weights:
        renamed = {
            re.sub(
                r"LayerNorm\.bias$", "LayerNorm.beta", re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", n)
            ): v
            for n, v in weights.items()
        }
        return renamed | {"bert.embeddings.position_ids": torch.arange(128)[None]}

    model = load(changed(tiny_encoder_dir, tmp_path / "m", old))
    assert same_weights(model, load(tiny_encoder_dir))
    wrapped = load(changed(tmp_path / "m", tmp_path / "w", prefixed("_orig_mod.")))
    assert same_weights(wrapped, model)


def test_a_head_of_another_task_is_left_out_with_a_word(tiny_encoder_dir: Path) -> None:
    model = load(tiny_encoder_dir)
    assert "not used from the checkpoint: cls.predictions (5 tensors), of another task" in model.loading
    assert "drawn from the seed, for the checkpoint lacks it: bert.pooler, classifier" in model.loading


def test_a_scoring_head_is_kept_if_it_fits_and_left_out_with_a_word_if_not(
    any_folder: Path, tmp_path: Path
) -> None:
    first = load(any_folder)
    first.module.save_pretrained(tmp_path / "m")
    for file in any_folder.glob("*token*"):
        shutil.copy(file, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.fresh == ()
    assert same_weights(again, first)
    assert any(note.startswith("the scoring head is the checkpoint's own") for note in again.notes)
    other = load(tmp_path / "m", labels=("a", "b"))
    (outer,) = {name.split(".")[0] for name in other.fresh}
    assert outer in ("classifier", "score")
    (word,) = (
        note for note in other.notes if note.startswith("the checkpoint's own scoring head was left out")
    )
    assert f"{outer}." in word
    assert "it is for 3 labels, and the data have 2" in word
    # What starts fresh is what a checkpoint without a head would have been given.
    bare = load(changed(tmp_path / "m", tmp_path / "bare", without(rf"^{outer}\.")), labels=("a", "b"))
    assert same_weights(other, bare)
    assert other.fingerprint == bare.fingerprint


def test_other_shapes_are_refused_by_name(any_folder: Path, tmp_path: Path) -> None:
    names = load_file(any_folder / "model.safetensors")
    # Of the last layer's weights, the first that is a vector of the model's width, 32.
    name = min(n for n in names if re.search(LAST_LAYER[any_folder.name], n) and names[n].shape == (32,))
    folder = changed(any_folder, tmp_path / "m", lambda weights: weights | {name: weights[name][:16]})
    said = refused(folder)
    assert f"{name} is 16, expected 32" in said
    assert "Use the config.json that was saved" in said


def test_a_folder_without_a_tokenizer_is_refused(any_folder: Path, tmp_path: Path) -> None:
    """transformers makes an empty tokenizer of some kinds, for which every word is unknown or no token at all."""
    folder = shutil.copytree(any_folder, tmp_path / "m")
    for file in folder.glob("*token*"):
        file.unlink()
    assert re.search("comes without a tokenizer|could not load model .* backend tokenizer", refused(folder))


def test_adapters_are_no_models(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    alone = tmp_path / "adapter"
    alone.mkdir()
    (alone / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny_encoder_dir)}))
    assert "holds a PEFT adapter (adapter_config.json) and no model: merge" in refused(alone)
    beside = shutil.copytree(tiny_encoder_dir, tmp_path / "beside")
    shutil.copy(alone / "adapter_config.json", beside)
    assert "merge the adapter into its base with peft" in refused(beside)

    def unmerged(weights: Weights) -> Weights:
        name = "bert.encoder.layer.0.attention.self.query"
        rest = {n: v for n, v in weights.items() if n != f"{name}.weight"}
        return rest | {
            f"{name}.base_layer.weight": weights[f"{name}.weight"],
            f"{name}.lora_A.default.weight": torch.zeros(2, 32),
        }

    assert "an adapter that was never merged" in refused(changed(tiny_encoder_dir, tmp_path / "u", unmerged))


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "2 NaN"), (float("inf"), "2 infinite")])
def test_weights_that_are_not_finite_are_named(
    tiny_encoder_dir: Path, tmp_path: Path, value: float, word: str
) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"

    def broken(weights: Weights) -> Weights:
        weights[name].view(-1)[[5, 70]] = value
        return weights

    folder = changed(tiny_encoder_dir, tmp_path / "m", broken)
    for dtype in ("fp32", "bf16"):
        said = refused(folder, dtype=dtype, beforehand=False)
        assert f"{name} ({word} of 2048 numbers)" in said  # 64 x 32
        assert "learning rate" not in said
