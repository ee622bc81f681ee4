"""A scoring model gives the logits that the plain model gives, for every architecture with a built-in name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from dissensus.config import ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models.encoding import Encoded
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel, device_for
from tiny import ARCHITECTURES, DECODERS, make_tiny


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(request.param, tmp_path_factory.mktemp("models") / request.param)


def load(folder: Path, dataset: AnnotatedDataset, seed: int = 0, **spec: object) -> ScoringModel:
    spec.setdefault("max_length", 48)
    model = load_scoring_model(
        ModelSpec.parse({"name": str(folder), **spec}, "test"), dataset.labels, dataset.fields, head_seed=seed
    )
    model.module.eval()
    return model


def test_padding_does_not_reach_the_logits(folder: Path, tiny_dataset: AnnotatedDataset) -> None:
    model = load(folder, tiny_dataset)
    encoded = model.encode(tiny_dataset)
    rows = list(range(len(tiny_dataset)))
    assert len(set(encoded.lengths.tolist())) > 1  # else nothing is padded
    with torch.no_grad():
        together = model.logits(encoded.batch(rows, model.pad_id))
        alone = torch.cat([model.logits(encoded.batch([r], model.pad_id)) for r in rows])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
    assert together.std() > 1e-3  # a model that says the same of everything would pass the line above


def test_the_head_depends_on_its_seed_alone(folder: Path, tiny_dataset: AnnotatedDataset) -> None:
    torch.manual_seed(1)
    first = load(folder, tiny_dataset, seed=7)
    torch.manual_seed(2)
    again, other = load(folder, tiny_dataset, seed=7), load(folder, tiny_dataset, seed=8)
    weights = [dict(m.module.named_parameters()) for m in (first, again, other)]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    differing = {n for n in weights[0] if not torch.equal(weights[0][n], weights[2][n])}
    assert differing
    assert all(any(n.startswith(f"{head}.") for head in first.fresh) for n in differing)
    assert first.fingerprint == other.fingerprint  # of the loaded weights, not of the head


def test_loading_leaves_the_callers_random_stream(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(tiny_encoder_dir, tiny_dataset)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("arch", ["bert", *DECODERS])
def test_a_models_own_dropout_can_be_set(arch: str, tmp_path: Path, tiny_dataset: AnnotatedDataset) -> None:
    folder = make_tiny(arch, tmp_path)
    model = load(folder, tiny_dataset, dropout=0.0)
    rates = {name: v for name, v in vars(model.module.config).items() if "dropout" in name or "pdrop" in name}
    assert rates
    assert all(not v for v in rates.values() if isinstance(v, int | float))
    assert all(m.p == 0 for m in model.module.modules() if isinstance(m, torch.nn.Dropout))
    other = load(folder, tiny_dataset, dropout=0.3)
    assert 0.3 in vars(other.module.config).values()
    assert other.fingerprint == model.fingerprint
    assert set(other.module.state_dict()) == set(load(folder, tiny_dataset).module.state_dict())


@pytest.mark.parametrize("arch", DECODERS)
def test_a_decoder_pools_the_last_real_token(
    arch: str, tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    model = load(make_tiny(arch, tmp_path), tiny_dataset)
    encoded = model.encode(tiny_dataset)
    with torch.no_grad():
        for row in range(0, len(tiny_dataset), 5):
            # transformers' own sequence classifier, on one unpadded row, pools its last token.
            batch = encoded.batch([row], model.pad_id)
            torch.testing.assert_close(
                model.logits(batch), model.module(**batch).logits.float(), atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("arch", DECODERS)
def test_a_verbalizer_reads_the_label_words_at_the_answer_position(
    arch: str, tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    words = ("dog", "bird", "apples")
    model = load(
        make_tiny(arch, tmp_path), tiny_dataset, head="verbalizer", label_words=words, max_length=100
    )
    encoded = model.encode(tiny_dataset)
    ids = [model.tokenizer(f" {w}", add_special_tokens=False)["input_ids"][0] for w in words]
    with torch.no_grad():
        got = model.logits(encoded.batch([3, 11], model.pad_id))
        for i, row in enumerate((3, 11)):
            batch = encoded.batch([row], model.pad_id)
            whole = model.module(**batch).logits[0, -1]
            torch.testing.assert_close(got[i], whole[ids].float(), atol=1e-5, rtol=1e-4)
    assert model.fresh == ()


def test_truncation_keeps_the_answer_cue_and_is_counted(
    tiny_decoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    spec = {
        "head": "verbalizer",
        "label_words": ("dog", "bird", "no"),
        "prompt": "{premise} {hypothesis} is it ?",
    }
    whole = load(tiny_decoder_dir, tiny_dataset, max_length=120, **spec)
    longest = int(whole.encode(tiny_dataset).lengths.max())
    cue = whole.tokenizer(" is it ?", add_special_tokens=False)["input_ids"]
    short = load(tiny_decoder_dir, tiny_dataset, max_length=longest - 3, **spec).encode(tiny_dataset)
    assert short.truncated == int((whole.encode(tiny_dataset).lengths > longest - 3).sum()) > 0
    assert short.lengths.max() <= longest - 3
    assert all(list(row[-len(cue) :]) == cue for row in short.input_ids)


def test_a_field_may_bear_any_name_and_braces_may_be_meant(tiny_decoder_dir: Path) -> None:
    records = [{"id": "1", "text.a": "a dog {runs}", "b:c": "two birds", "gold": "x", "counts": [1, 0]}]
    data = AnnotatedDataset.from_records(records, labels=["x", "y"], text=["text.a", "b:c"])
    model = load(tiny_decoder_dir, data, max_length=100)
    assert model.tokenizer.decode(model.encode(data).input_ids[0]).endswith(
        "Text.a: a dog {runs}\nB:c: two birds"
    )
    braced = load(tiny_decoder_dir, data, max_length=100, prompt="{{no}} {b:c}")
    assert braced.tokenizer.decode(braced.encode(data).input_ids[0]).endswith("{no} two birds")


def test_an_encoder_truncates_to_max_length(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    whole = load(tiny_encoder_dir, tiny_dataset).encode(tiny_dataset)
    assert whole.truncated == 0
    short = load(tiny_encoder_dir, tiny_dataset, max_length=12).encode(tiny_dataset)
    assert short.lengths.max() == 12
    assert short.truncated == int((whole.lengths > 12).sum())
    # A pair keeps both separators: [CLS] a [SEP] b [SEP].
    separator = transformers.AutoTokenizer.from_pretrained(tiny_encoder_dir).sep_token_id
    assert all(row.count(separator) == 2 for row in short.input_ids)


def test_without_segments_every_token_is_the_first_texts(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    """No segment ids are made; the logits are those of ids 0 throughout, packed and padded, and not the usual ones."""
    found = []
    for segments in (True, False):
        spec = ModelSpec(name=str(tiny_encoder_dir), max_length=48, segments=segments)
        model = load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=1)
        encoded = model.encode(tiny_dataset)
        assert (encoded.token_type_ids is None) == (not segments)
        found.append((model, encoded))
    (with_ids, usual), (model, plain) = found
    assert plain.input_ids == usual.input_ids
    batch = usual.batch(range(8), model.pad_id)
    assert batch["token_type_ids"].any()
    zeros = {**batch, "token_type_ids": torch.zeros_like(batch["token_type_ids"])}
    with torch.no_grad():
        expected = with_ids.module.eval()(**zeros).logits
        order, packed = model.score_rows(plain, range(8))
        torch.testing.assert_close(packed[np.argsort(order)], expected, atol=1e-5, rtol=1e-4)
        padded = model.logits(plain.batch(range(8), model.pad_id))
        torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-4)
        assert (with_ids.logits(batch) - expected).abs().max() > 1e-3


def test_a_prompt_may_be_cut_at_its_end(tiny_decoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    """The first tokens of the whole prompt, so the premise stays and the hypothesis goes; each cut row is counted."""
    settings = {"name": str(tiny_decoder_dir), "prompt": "premise: {premise} hypothesis: {hypothesis}"}

    def encoded(**how: object) -> Encoded:
        spec = ModelSpec.parse({**settings, **how}, "t")
        model = load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=1)
        return model.encode(tiny_dataset)

    whole = encoded(max_length=128)
    limit = int(np.median(whole.lengths))
    assert whole.truncated == 0
    cut = encoded(max_length=limit, truncate="end")
    assert cut.input_ids == tuple(row[:limit] for row in whole.input_ids)
    assert cut.truncated == int((whole.lengths > limit).sum()) > 0
    shortened = encoded(max_length=limit)
    assert shortened.input_ids != cut.input_ids
    assert shortened.truncated == cut.truncated


def test_more_than_two_fields_reach_an_encoder(tiny_encoder_dir: Path) -> None:
    records = [
        {"id": str(i), "a": "a dog runs", "b": "two birds", "c": word, "gold": "x", "counts": [1, 0]}
        for i, word in enumerate(("apples", "garden"))
    ]
    data = AnnotatedDataset.from_records(records, labels=["x", "y"], text=["a", "b", "c"])
    encoded = load(tiny_encoder_dir, data).encode(data)
    assert encoded.input_ids[0] != encoded.input_ids[1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"head": "verbalizer"}, "needs a decoder-only"),
        ({"max_length": 4000}, "positions"),
    ],
)
def test_what_does_not_fit_an_encoder_is_refused(
    spec: dict[str, object], message: str, tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    with pytest.raises(ModelError, match=message):
        load(tiny_encoder_dir, tiny_dataset, **spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"label_words": ("dog", "dog", "no")}, "different tokens"),
        ({"label_words": ("dog", "no")}, "2 words for the 3 labels"),
        ({"label_words": ("dog", "bird", "no"), "prompt": "{premise} {hypothesys}"}, "hypothesys"),
        (
            {"label_words": ("dog", "bird", "no"), "prompt": "many words " * 30 + "{premise}"},
            "raise model.max_length",
        ),
    ],
)
def test_a_verbalizer_that_cannot_work_is_refused(
    spec: dict[str, object], message: str, tiny_decoder_dir: Path, tiny_dataset: AnnotatedDataset
) -> None:
    with pytest.raises(ModelError, match=message):
        load(tiny_decoder_dir, tiny_dataset, head="verbalizer", **spec).encode(tiny_dataset)


def test_a_folder_with_damaged_weights_is_an_error_in_words(
    tiny_encoder_dir: Path, tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_encoder_dir / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="could not load model"):
        load(tmp_path, tiny_dataset)


def test_pickled_weights_are_not_loaded(
    tiny_encoder_dir: Path, tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_encoder_dir / name).read_bytes())
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="could not load model"):
        load(tmp_path, tiny_dataset)


def test_lengths_are_those_of_the_rows(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    encoded = load(tiny_encoder_dir, tiny_dataset).encode(tiny_dataset)
    batch = encoded.batch([0, 5, 9], 0)
    assert batch["attention_mask"].sum(dim=1).tolist() == encoded.lengths[[0, 5, 9]].tolist()
    assert batch["input_ids"].shape[1] == encoded.lengths[[0, 5, 9]].max()
    assert np.array_equal(batch["input_ids"][1, : encoded.lengths[5]].numpy(), encoded.input_ids[5])


def test_a_device_that_is_not_here_is_an_error_in_words() -> None:
    assert device_for("cpu") == torch.device("cpu")
    for name in ("cuda:99", "nonsense"):
        with pytest.raises(ModelError, match=name):
            device_for(name)
