"""Insides of other libraries: each is there, or the test says in words what is done without it, which is right too."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from dissensus.config import ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models import insides
from dissensus.models.insides import INSIDES, Inside
from dissensus.models.loading import load_scoring_model
from dissensus.models.merging import folded_adapters, lean_lora
from dissensus.models.packing import Layout, Run
from dissensus.models.patched import patched
from dissensus.models.run_attention import Rules, run_attention
from dissensus.models.scoring import ScoringModel, packed_rows_agree
from tiny import make_tiny

# PEFT asks transformers by a name that transformers is about to retire.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

DOCUMENT = Path(__file__).parents[2] / "docs/design/insides.md"


@pytest.mark.parametrize("name", INSIDES)
def test_the_installed_libraries_have_what_is_used_of_them(name: str) -> None:
    inside = INSIDES[name]
    if inside.library in ("trl",):
        pytest.importorskip(inside.library)
    assert inside.there(), inside.gone()


@pytest.mark.parametrize("name", INSIDES)
def test_the_table_for_readers_names_each_inside_and_the_module_that_uses_it(name: str) -> None:
    inside = INSIDES[name]
    assert find_spec(f"dissensus.{inside.used_in}") is not None, f"there is no module {inside.used_in}"
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {name} |")]
    assert len(rows) == 1, f"docs/design/insides.md has no row for {name!r}"
    assert f"`{inside.used_in}`" in rows[0]
    assert inside.library in rows[0]


def test_one_that_is_gone_is_told_once_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def moved() -> bool:
        raise ImportError("No module named 'transformers.masking_utils'")

    gone = Inside("transformers", "masks", "models.attention", "padded batches are read", moved)
    monkeypatch.setitem(INSIDES, "masks", gone)
    with caplog.at_level(logging.WARNING, logger="dissensus"):
        assert not insides.present("masks")
        assert not insides.present("masks")
    (line,) = caplog.messages
    assert line == f"transformers {transformers.__version__} no longer has masks: padded batches are read"
    insides.present.cache_clear()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Take one inside away, as a library that has moved would."""

    def take(name: str) -> None:
        inside = INSIDES[name]
        gone = Inside(inside.library, inside.what, inside.used_in, inside.instead, lambda: False)
        monkeypatch.setitem(INSIDES, name, gone)
        insides.present.cache_clear()

    yield take
    insides.present.cache_clear()


def loaded(folder: Path, dataset: AnnotatedDataset) -> ScoringModel:
    spec = ModelSpec(name=str(folder), max_length=48)
    return load_scoring_model(spec, dataset.labels, dataset.fields, head_seed=1)


def logits_of(model: ScoringModel, dataset: AnnotatedDataset) -> torch.Tensor:
    with torch.no_grad():
        rows, logits = model.score_rows(model.encode(dataset), [3, 0, 7, 12])
    return logits[np.argsort(rows)]


WITHOUT_ATTENTION = """
import logging, sys
from dissensus.models import insides
from dissensus.models.insides import INSIDES, Inside
old = INSIDES["attention interface"]
INSIDES["attention interface"] = Inside(old.library, old.what, old.used_in, old.instead, lambda: False)
from dissensus.config import ModelSpec
from dissensus.models.loading import load_scoring_model
import torch
for folder in sys.argv[1:]:
    spec = ModelSpec(name=folder, max_length=48)
    model = load_scoring_model(spec, ("a", "b", "c"), ("text",), head_seed=1)
    assert not model.packs
    from dissensus.models.encoding import Encoded
    encoded = Encoded(("x", "y"), ((5, 6, 7), (8, 9, 10, 11, 12)), None, 0)
    with torch.no_grad():
        _, padded = model.score_rows(encoded, [0, 1])
        alone = [model.score_rows(encoded, [row])[1] for row in (0, 1)]
    torch.testing.assert_close(padded, torch.cat(alone), atol=1e-5, rtol=1e-5)
print("padded")
"""


def test_without_the_attention_interface_models_are_read_in_padded_batches(
    tiny_encoder_dir: Path, tiny_decoder_dir: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_ATTENTION, str(tiny_encoder_dir), str(tiny_decoder_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "padded"
    assert ran.stderr.count("falls back to padded batches") == 1


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_a_model_that_hands_nothing_through_to_attention_is_padded_and_says_so(
    arch: str,
    tiny_dataset: AnnotatedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = make_tiny(arch, tmp_path)
    expected = logits_of(loaded(folder, tiny_dataset), tiny_dataset)
    before = ScoringModel.features

    def moved(self: ScoringModel, batch: Any) -> torch.Tensor:
        raise TypeError("packed_attention() missing 1 required keyword-only argument: 'layout'")

    monkeypatch.setattr(ScoringModel, "features", moved)
    model = loaded(folder, tiny_dataset)
    assert not model.packs
    assert "does not give packed rows what it gives padded batches" in caplog.text
    torch.testing.assert_close(logits_of(model, tiny_dataset), expected, atol=1e-5, rtol=1e-5)
    # Another answer counts as well as none.
    monkeypatch.setattr(ScoringModel, "features", lambda self, batch: 1.5 * before(self, batch) + 0.2)
    assert not loaded(folder, tiny_dataset).packs
    monkeypatch.setattr(ScoringModel, "features", before)
    model = loaded(folder, tiny_dataset)
    assert model.packs
    assert packed_rows_agree(model)


@pytest.mark.parametrize(("name", "kind"), [("lora layers", "lora"), ("ia3 layers", "ia3")])
def test_without_the_parts_of_adapters_they_are_left_to_peft(
    name: str, kind: str, without: Callable[[str], None], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(make_tiny("bert", tmp_path))
    config: Any = (
        peft.LoraConfig(target_modules=["query"], r=2)
        if kind == "lora"
        else peft.IA3Config(target_modules=["query"], feedforward_modules=[])
    )
    model = peft.get_peft_model(model, config).eval()
    ids = torch.arange(5, 13)[None]
    expected = model(input_ids=ids).logits
    without(name)
    assert lean_lora(model) == 0
    with folded_adapters(model):
        assert not any("forward" in layer.__dict__ for layer in model.modules())
        assert torch.equal(model(input_ids=ids).logits, expected)


def test_the_softmax_gradient_from_its_definition_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout((Run(0, 2, 3), Run(6, 1, 2)))

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)
        parts = [torch.randn(8, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        out = run_attention(*parts, layout, Rules(0.5, lambda length: None, lambda run: None))
        (out * torch.arange(64.0).view_as(out).sin()).sum().backward()
        return [part.grad for part in parts if part.grad is not None]

    expected = gradients()
    monkeypatch.delattr(torch, "_softmax_backward_data")
    insides.present.cache_clear()
    for own, theirs in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-12, rtol=1e-12)
    insides.present.cache_clear()


def test_where_hooks_cannot_be_seen_a_model_is_read_its_own_way(without: Callable[[str], None]) -> None:
    model = torch.nn.Linear(2, 2)
    assert patched(model) == ""
    without("hooks")
    assert "hooks cannot be seen" in patched(model)


def test_a_last_layer_of_another_layout_computes_every_token(
    tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model = loaded(make_tiny("bert", tmp_path), tiny_dataset)
    expected = logits_of(model, tiny_dataset)
    encoder = model.base.bert.encoder
    stack = encoder.layer

    class Wrapped(torch.nn.ModuleList):
        def __getitem__(self, index: Any) -> Any:
            raise TypeError("layers are no list any more")

    encoder.layer = Wrapped(stack)
    torch.testing.assert_close(logits_of(model, tiny_dataset), expected, atol=1e-5, rtol=1e-5)


def test_without_transformers_names_the_known_model_types_are_told_apart(
    without: Callable[[str], None], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    without("mapping names")
    assert loaded(make_tiny("modernbert", tmp_path / "m"), tiny_dataset).kind == "encoder"
    assert loaded(make_tiny("gpt2", tmp_path / "g"), tiny_dataset).kind == "decoder"


def test_the_free_mode_refuses_a_trainer_that_it_cannot_carry_ids_through(
    without: Callable[[str], None],
) -> None:
    from dissensus.integrations.free import record_free

    without("signature columns")
    trainer: Any = None
    with pytest.raises(
        ModelError, match=r"no longer has Trainer\._set_signature.*transformers\.record passes"
    ):
        record_free(type("Trainer", (), {"args": trainer})(), "nowhere", None)  # type: ignore[arg-type]


def test_a_recorder_that_cannot_go_first_goes_last(without: Callable[[str], None]) -> None:
    from dissensus.integrations.transformers import record

    class Trainer:
        added: list[Any] = []  # noqa: RUF012

        def add_callback(self, callback: Any) -> None:
            self.added.append(callback)

    without("callback order")
    trainer: Any = Trainer()
    callback = record(trainer, "nowhere", None)  # type: ignore[arg-type]
    assert trainer.added == [callback]
