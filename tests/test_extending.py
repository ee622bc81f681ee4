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
from typer.testing import CliRunner

from dissensus.analysis.across import load_across, look_across
from dissensus.analysis.tables import load_analysis
from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.config.sources import SOURCES
from dissensus.config.study import Override
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.pull import list_published, pull
from dissensus.data.sources import load_source, published_data
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.report.page import write_report
from dissensus.run.engines.base import EngineSettings
from dissensus.run.engines.named import ENGINES, named_engine
from dissensus.run.provenance import source_facts
from dissensus.run.runner import run_study
from dissensus.store import load_curves
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import expand
from run.engines.studies import fake_study
from synthetic_study import study_spec, write_study

ROOT = Path(__file__).parents[1]

PACKAGE = '''
"""A package of somebody else's, with all that can be brought from outside."""
from typing import Literal

from dissensus.analysis.claims import ClaimVerdict
from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import PublishedData, Source
from dissensus.report.sections import Section
from dissensus.run.engines.local import LocalEngine


class CoinSource(SourceSpec):
    source: Literal["coins"] = "coins"
    size: int = 3

    def in_words(self):
        return f"{self.size} coins"

    def gold_from(self):
        return "majority"


def load(spec, *, data_dir=None):
    rows = [{"id": f"c{i}", "text": f"coin {i}", "gold": "heads", "counts": [2, i]} for i in range(spec.size)]
    return AnnotatedDataset.from_records(rows, labels=("heads", "tails"), text=("text",), name="coins")


SOURCE = Source(
    CoinSource, load, (PublishedData("coins", "coins", "CC0", "nobody", "https://coins.example", (), ("coins.csv",)),)
)


class Tossed(LocalEngine):
    """Hands over the jobs in the other order of machines; that is, in none."""

    name = "tossed"
    hired = 0

    def __init__(self, settings):
        super().__init__(workers=settings.workers, device=settings.device)
        self.settings = settings

    def hire(self, needs, log):
        self.hired += 1
        return super().hire(needs, log)


def halfway(block, u):
    return block.losses[:, u.searchsorted(0.5)]


def claim(measured, thorough):
    return [ClaimVerdict("X1", f"{len(measured.reading.cells)} cells are enough", "inconclusive", "", "", (), ())]


def section(analysis):
    losses = analysis.examples["halves"].to_numpy()
    return Section("halfway", "Half <way>", (f"{len(losses)} losses.",), ("what",), (("mean & more",),))


five = 5


def nonsense(*_):
    return 5


def taken(block, u):
    return u
'''
ENTRY_POINTS = """
[dissensus.sources]
coins = coins_of_mine:SOURCE
broken = no_such_module:SOURCE
five = coins_of_mine:five
chaosnli = coins_of_mine:SOURCE
[dissensus.engines]
tossed = coins_of_mine:Tossed
five = coins_of_mine:nonsense
local = coins_of_mine:nonsense
[dissensus.metrics]
halves = coins_of_mine:halfway
gold = coins_of_mine:halfway
final_loss = coins_of_mine:halfway
points = coins_of_mine:taken
five = coins_of_mine:five
[dissensus.claims]
enough = coins_of_mine:claim
nonsense = coins_of_mine:nonsense
[dissensus.sections]
halves = coins_of_mine:section
odd = coins_of_mine:nonsense
"""


def install(site: Path, name: str, entries: str, version: str = "1.0") -> None:
    """Leave what an installer leaves of a package's entry points."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a package is installed that brings one of each, and some that are broken."""
    site = tmp_path / "site"
    install(site, "coins", ENTRY_POINTS)
    (site / "coins_of_mine.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(site))
    yield site
    forget()


def forget() -> None:
    """As in a new process: the package's code is not loaded."""
    sys.modules.pop("coins_of_mine", None)


def with_extensions(folder: Path, *names: str) -> None:
    """Let the study that lies there name these extensions."""
    study = StudySpec.from_yaml(folder / "study.yaml", stored=True)
    analysis = study.analysis.model_copy(update={"extensions": names})
    (folder / "study.yaml").write_text(study.model_copy(update={"analysis": analysis}).to_yaml())


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
        SpecError, match=r"'broken' is offered by coins 1.0 .*could not be loaded: ModuleNotFoundError"
    ):
        study_spec(datasets=[{"name": "d", "tracked": {"source": "broken"}}])
    with pytest.raises(
        SpecError, match=r"'five' is offered by coins 1.0 .*expected a .*base\.Source, and it is int 5"
    ):
        study_spec(datasets=[{"name": "d", "tracked": {"source": "five"}}])


def test_a_name_that_two_packages_offer_is_refused(installed: Path) -> None:
    install(installed, "tokens", "[dissensus.sources]\ncoins = tokens_of_theirs:SOURCE\n", "2.1")
    with pytest.raises(
        SpecError, match=r"'coins' is offered by several .*: coins 1.0 and tokens 2.1\. Uninstall"
    ):
        coin_study()


@pytest.mark.parametrize("command", ["status", "analyze", "claims", "report"])
def test_looking_at_a_study_runs_no_code_of_its_sources_package(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    folder = tmp_path / "study"
    # The one cell's size is the default, which its digest leaves out; the other's is not.
    other = {"when": {"method": "full"}, "set": {"dataset": {"tracked": {"size": 5}}}}
    study = coin_study(size=3).model_copy(update={"overrides": (Override.parse(other, "test"),)})
    facts = source_facts(expand(study)[0])
    names = write_study(folder, study, n=12, points=3, provenance={"model_fingerprint": "ab", **facts})
    forget()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(installed)])
    for path in ([], [str(installed)]):  # neither needed where it is missing, nor loaded where it is there
        monkeypatch.setattr(sys, "path", path + sys.path)
        answer = CliRunner().invoke(app, [command, str(folder)])
        assert answer.exit_code == 0, answer.output
        if command == "status":
            assert "2 cells: 2 done" in answer.stdout
        assert "coins_of_mine" not in sys.modules
        if command == "analyze":  # what its package says of gold labels is stored with the cells
            table = pq.read_table(folder / "analysis/cells.parquet")
            assert set(table["gold_source"].to_pylist()) == {"majority"}
    stored = StudyFolder(folder)
    assert list(stored.planned) == list(stored.done) == names
    assert stored.spec.digest() == study.digest()
    to_run = StudySpec.from_yaml(folder / "study.yaml")
    assert to_run.datasets[0].tracked.in_words() == "3 coins"
    assert [cell.cell_id for cell in expand(to_run)] == names


def test_a_source_whose_package_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(study_spec().to_yaml().replace("source: chaosnli", "source: coins"))
    answer = CliRunner().invoke(app, ["run", str(tmp_path / "s.yaml")])
    assert answer.exit_code == 2
    assert re.search(
        r"tracked: unknown source 'coins'; .*or a package that brings it is not installed", answer.output
    )


@pytest.mark.usefixtures("installed")
def test_a_published_data_set_of_a_package_is_shown_and_pulled_by_one_list(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["data", "list"]).stdout
    assert "bring further sources: broken, coins, five." in listed
    assert "coins_of_mine" not in sys.modules
    assert "https://coins.example" in CliRunner().invoke(app, ["data", "show", "coins"]).stdout
    with pytest.raises(DataError, match=r"get the data from https://coins\.example"):
        pull("coins", tmp_path)


@pytest.mark.usefixtures("installed")
def test_an_engine_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "run"))
    monkeypatch.setenv("COLUMNS", "200")
    assert ENGINES.names() == ("local", "ray", "slurm", "five", "tossed")
    assert "Of installed packages: five, tossed." in CliRunner().invoke(app, ["run", "--help"]).stdout
    assert "coins_of_mine" not in sys.modules
    engine: Any = named_engine("tossed", tmp_path, workers=1, device="cpu", options=["side=up"])
    assert engine.settings == EngineSettings(tmp_path, 1, "cpu", {"side": "up"})
    fake = {"run_cell": "fake_cell:run_cell", "run_cells": "fake_cell:run_cells"}
    result = run_study(fake_study("ok", seeds=[0, 1]), tmp_path / "out", engine=engine, **fake)
    assert [cell.state for cell in result.cells] == ["done", "done"]
    assert engine.hired >= 1
    assert type(named_engine("local", tmp_path)).__name__ == "LocalEngine"
    with pytest.raises(
        SpecError, match=r"no such engine; did you mean 'tossed'.*a package that brings it is not"
    ):
        named_engine("tosed", tmp_path)
    with pytest.raises(SpecError, match=r"--engine five: coins 1.0 gave int 5; expected an Engine"):
        named_engine("five", tmp_path)


def test_a_metric_a_claim_and_a_report_section_of_an_installed_package(
    installed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    names = write_study(folder, study_spec(), n=12, points=5)
    assert "extensions" not in (folder / "study.yaml").read_text()
    assert study_spec(analysis={"resamples": 100, "extensions": []}).digest() == study_spec().digest()
    before = write_report(folder).read_text()
    look_across(folder)
    assert "coins_of_mine" not in sys.modules
    # The tables that are there were made without them.
    with_extensions(folder, "halves", "enough")
    assert load_analysis(folder) is None
    assert load_across(folder) is None
    page = write_report(folder).read_text()
    table = pq.read_table(folder / "analysis/examples.parquet")
    first = table.filter([cell == names[0] for cell in table["cell"].to_pylist()])
    # Five points at progress 0, 1/4, 1/2, ...: halfway is the third.
    assert np.array_equal(first["halves"].to_numpy(), load_curves(folder / "cells" / names[0]).losses[:, 2])
    assert '<section id="halfway"' in page
    assert '<section id="halfway"' not in before
    assert "Half &lt;way&gt;" in page
    assert "mean &amp; more" in page
    verdicts = look_across(folder).claims
    assert [verdict.claim for verdict in verdicts[:2]] == ["C1", "C2"]
    assert (verdicts[-1].claim, verdicts[-1].says) == ("X1", "2 cells are enough")
    # Another version of the package may compute something else.
    assert load_analysis(folder) is not None
    install(installed, "coins", ENTRY_POINTS, "1.1")
    assert load_analysis(folder) is None
    assert load_across(folder) is None


def test_an_extension_that_is_not_installed_is_said_before_the_run(tmp_path: Path) -> None:
    study = study_spec(analysis={"extensions": ["missing"]})
    (tmp_path / "s.yaml").write_text(study.to_yaml())
    answer = CliRunner().invoke(app, ["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out")])
    assert answer.exit_code == 2
    assert "no metric, claim or report section is known as 'missing'" in answer.output
    assert not (tmp_path / "out").exists()
    write_study(tmp_path / "done", study, n=12, points=3)
    assert CliRunner().invoke(app, ["status", str(tmp_path / "done")]).exit_code == 0


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "halfs",
            r"analysis\.extensions: no metric, claim or report section is known as 'halfs'; did you mean 'halves'",
        ),
        ("five", r"'five' is offered by coins 1.0 .*expected a function of a Block .*, and it is int 5"),
        ("gold", r"the metric 'gold' has the name of a column"),
        ("final_loss", r"the metric 'final_loss' has the name of a column"),
        (
            "points",
            r"the metric 'points' gave float64 of shape \(3,\); expected a number per example",
        ),
        ("odd", r"the report section 'odd' gave 5; expected a Section or None"),
        ("nonsense", r"the claim 'nonsense' gave 5; expected a list of ClaimVerdict"),
    ],
)
def test_an_extension_that_is_none_is_an_error_in_words(tmp_path: Path, name: str, words: str) -> None:
    write_study(tmp_path / "study", study_spec(), n=12, points=3)
    with_extensions(tmp_path / "study", name)
    look: Any = look_across if name == "nonsense" else write_report
    with pytest.raises((SpecError, StoreError), match=words):  # StoreError: with the cell's name
        look(tmp_path / "study")


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
    from dissensus.record.probes.base import MeasuredPoint

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

        def measured(self, scores: Any) -> MeasuredPoint:
            logits = np.hstack([scores, np.zeros((len(scores), 2), np.float32)])
            return MeasuredPoint(
                logits - np.log(np.exp(logits).sum(1, keepdims=True)), {"asked": scores[:, 0]}
            )

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
