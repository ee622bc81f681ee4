"""Each line of CONTRIBUTING.md's table of extensions, tried from outside the package; and the files that it names."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dissensus.analysis.claims import ClaimVerdict, judge_claims
from dissensus.analysis.claims.judging import CLAIMS
from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.tables import Analysis, analyze
from dissensus.config import StudySpec
from dissensus.config.sources import SOURCES
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.pull import list_published
from dissensus.data.sources import load_source, published_data
from dissensus.errors import SpecError
from dissensus.metrics.together import METRICS
from dissensus.report.page import write_report
from dissensus.report.sections import SECTIONS, Section
from dissensus.run.engines.named import ENGINES, named_engine
from dissensus.store import load_curves
from dissensus.study.grid import expand
from synthetic_study import study_spec, write_study

ROOT = Path(__file__).parents[1]

PACKAGE = '''
"""A package of somebody else's, with a data source and an engine."""
from typing import Literal

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import PublishedData, Source


class CoinSource(SourceSpec):
    source: Literal["coins"] = "coins"
    size: int = 3

    def in_words(self):
        return f"{self.size} coins"


def load(spec, *, data_dir=None):
    rows = [{"id": f"c{i}", "text": f"coin {i}", "gold": "heads", "counts": [2, i]} for i in range(spec.size)]
    return AnnotatedDataset.from_records(rows, labels=("heads", "tails"), text=("text",), name="coins")


SOURCE = Source(
    CoinSource, load, (PublishedData("coins", "coins", "CC0", "nobody", "https://coins.example", (), ("coins.csv",)),)
)


def engine(out, options):
    return ("an engine", out, options)
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers a source and an engine, and one that is broken."""
    site = tmp_path / "site"
    info = site / "coins-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "coins_of_mine.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dissensus.sources]\ncoins = coins_of_mine:SOURCE\nbroken = no_such_module:SOURCE\n"
        "chaosnli = coins_of_mine:SOURCE\n[dissensus.engines]\ntossed = coins_of_mine:engine\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("coins_of_mine", None)


def coin_study(**source: Any) -> StudySpec:
    return study_spec(
        datasets=[{"name": "d", "tracked": {"source": "coins", **source}}], regimes=["trained_on"]
    )


@pytest.mark.usefixtures("installed")
def test_a_data_source_of_an_installed_package() -> None:
    # Its code is loaded when a study names it, and not before.
    assert "coins" in SOURCES.names()
    assert "coins" not in {status.data.name for status in list_published()}
    assert "coins_of_mine" not in sys.modules
    study = coin_study(size=4)
    spec = study.datasets[0].tracked
    assert spec.in_words() == "4 coins"
    assert load_source(spec).ids == ("c0", "c1", "c2", "c3")
    # Identity, the stored form and back, and errors are as those of the built-in ones.
    cell = expand(study)[0]
    assert '"tracked":{"size":4,"source":"coins"}' in cell.canonical()
    assert type(cell).parse(json.loads(cell.model_dump_json()), "stored") == cell
    with pytest.raises(SpecError, match=r"datasets\.0\.tracked\.sise: unknown key; did you mean 'size'"):
        coin_study(sise=4)
    assert published_data("coins")["coins"].homepage == "https://coins.example"


@pytest.mark.usefixtures("installed")
def test_a_package_can_neither_replace_a_source_nor_fail_without_words() -> None:
    assert SOURCES.load("chaosnli").spec.__module__ == "dissensus.data.sources.chaosnli"
    with pytest.raises(
        SpecError, match=r"'broken' is offered by coins .*could not be loaded: ModuleNotFoundError"
    ):
        study_spec(datasets=[{"name": "d", "tracked": {"source": "broken"}}])


@pytest.mark.usefixtures("installed")
def test_an_engine_of_an_installed_package(tmp_path: Path) -> None:
    assert ENGINES.names() == ("tossed",)
    assert "coins_of_mine" not in sys.modules
    assert named_engine("tossed", tmp_path, options=["side=up"]) == ("an engine", tmp_path, {"side": "up"})
    with pytest.raises(SpecError, match="no such engine; did you mean 'tossed'"):
        named_engine("tosed", tmp_path)


def test_a_metric_and_a_report_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "loss_halfway", lambda block, u: block.losses[:, np.searchsorted(u, 0.5)])

    def section(analysis: Analysis) -> Section | None:
        losses = analysis.examples["loss_halfway"].to_numpy()
        return Section("halfway", "Half <way>", (f"{len(losses)} losses.",), ("what",), (("mean & more",),))

    SECTIONS.append(section)
    try:
        names = write_study(tmp_path, study_spec(analysis={"resamples": 100}), n=12, points=5)
        page = write_report(tmp_path).read_text()
    finally:
        SECTIONS.remove(section)
    table = pq.read_table(tmp_path / "analysis/examples.parquet")
    first = table.filter([cell == names[0] for cell in table["cell"].to_pylist()])
    # Five points at progress 0, 1/4, 1/2, ...: halfway is the third.
    assert np.array_equal(
        first["loss_halfway"].to_numpy(), load_curves(tmp_path / "cells" / names[0]).losses[:, 2]
    )
    assert '<section id="halfway"' in page
    assert "Half &lt;way&gt;" in page
    assert "mean &amp; more" in page


def test_a_claim(tmp_path: Path) -> None:
    def judge(measured: Any, _thorough: bool) -> list[ClaimVerdict]:
        says = f"{len(measured.reading.cells)} cells are enough"
        return [ClaimVerdict("X1", says, "inconclusive", "", "", (), ())]

    CLAIMS.append(judge)
    try:
        write_study(tmp_path, study_spec(analysis={"resamples": 100}), n=12, points=3)
        analyze(tmp_path)
        verdicts = judge_claims(StudyReader.at(tmp_path).all(), thorough=False)
    finally:
        CLAIMS.remove(judge)
    assert [verdict.claim for verdict in verdicts[:2]] == ["C1", "C2"]
    assert (verdicts[-1].claim, verdicts[-1].says) == ("X1", "2 cells are enough")


def test_an_architecture_and_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_dataset: Any
) -> None:
    torch = pytest.importorskip("torch")
    import transformers

    from dissensus.config import MethodSpec, ModelSpec
    from dissensus.errors import ModelError
    from dissensus.models import list_models
    from dissensus.models.loading import load_scoring_model
    from dissensus.models.registry import ARCHITECTURES, BUILTIN, Architecture, ModelCard
    from dissensus.train.methods import apply_method
    from tiny import make_tokenizer

    tokenizer = make_tokenizer("llama")
    config = transformers.GemmaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, intermediate_size=64, max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.GemmaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    lora = MethodSpec(name="lora", rank=2, learning_rate=1e-3)

    def loaded() -> Any:
        spec = ModelSpec(name=str(tmp_path))
        return load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=0)

    assert not loaded().packs
    with pytest.raises(ModelError, match="no usual adapter targets are known for the architecture 'gemma'"):
        apply_method(loaded(), lora, adapter_seed=0)
    targets = r".*\.self_attn\.(q_proj|v_proj)"
    entry = Architecture("decoder", targets, targets, r".*\.mlp\.down_proj", packs=True)
    monkeypatch.setitem(ARCHITECTURES, "gemma", entry)
    model = loaded()
    apply_method(model, lora, adapter_seed=0)
    encoded = model.encode(tiny_dataset)
    answers = []
    for model.packs in (True, False):  # packed rows, then padded batches
        with torch.no_grad():
            rows, logits = model.score_rows(encoded, np.arange(8))
        answers.append(logits[torch.as_tensor(np.argsort(rows))])
    assert torch.allclose(*answers, atol=1e-5)
    monkeypatch.setitem(BUILTIN, "mine", ModelCard("mine", "me/mine", "decoder", "1k"))
    assert "mine" in [card.name for card in list_models()]


def test_a_probe(tmp_path: Path, tiny_dataset: AnnotatedDataset) -> None:
    torch = pytest.importorskip("torch")
    from dissensus import CurveRecorder
    from dissensus.record.probes.base import Measured

    class Weight:
        """Asks a model for one number, and takes it for the logit of the first label of every example."""

        dataset = tiny_dataset
        rows = len(tiny_dataset)
        covariates: Mapping[str, Any] = {}
        facts: Mapping[str, Any] = {"probe": "weight"}
        values = ("asked",)
        token_losses = False

        def tracked(self, token_budget: int) -> Any:
            return SimpleNamespace(scores=self.scores)

        def scores(self, model: Any, *, untrained: bool, group: Any) -> Iterator[Any]:
            for batch in group.share([list(range(self.rows))]):
                yield np.array(batch), model.weight.repeat(len(batch), 1)

        def measured(self, scores: Any) -> Measured:
            logits = np.hstack([scores, np.zeros((len(scores), 2), np.float32)])
            return Measured(logits - np.log(np.exp(logits).sum(1, keepdims=True)), {"asked": scores[:, 0]})

        def resume(self, stored: Any) -> None: ...

    model = torch.nn.Linear(1, 1, bias=False)
    with CurveRecorder(tmp_path / "run", Weight(), total_steps=2, points=2, quiet=True) as recorder:
        for step in range(3):
            model.weight.data.fill_(float(step))
            recorder.step(model, step)
    curves = load_curves(tmp_path / "run")
    assert curves.values["asked"][0].tolist() == [0.0, 2.0]
    # log p(first label) of logits (2, 0, 0): 2 - ln(e^2 + 2) = -0.2396
    assert curves.log_probs[0, 1, 0] == pytest.approx(-0.2396, abs=1e-4)


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:src|tests|docs|benchmarks|results|examples)/[\w./-]+)`", text))
    below = re.findall(
        r"`((?!src/|tests/|docs/|benchmarks/|results/|examples/)[a-z]\w*(?:/\w+)*(?:\.py|/))`", text
    )
    named |= {f"src/dissensus/{path}" for path in below}
    assert len(named) > 30
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
