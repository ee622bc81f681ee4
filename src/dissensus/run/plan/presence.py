"""Whether a model is on this machine, asked without a network. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from dissensus.config import ModelSpec
from dissensus.errors import ModelError


def stay_offline() -> None:
    """Let the hub count as out of reach in this process; heeded if nothing has imported its client yet."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def refuse_missing(model: ModelSpec) -> None:
    """Raise `ModelError` for a model that a run would have to fetch first."""
    from dissensus.models.registry import BUILTIN
    from dissensus.models.resolve import list_models

    folder = Path(model.name).expanduser()
    card = BUILTIN.get(model.name)
    hub = card.hub if card else model.name
    if (folder / "config.json").is_file():
        return
    if card is None and (folder.exists() or "/" not in hub):
        return  # nothing to fetch: loading says at once what is wrong
    if card is not None and model.revision is None:
        here = next(listing.cached for listing in list_models() if listing.name == model.name)
    else:
        here = _in_cache(hub, model.revision)
    if not here:
        raise ModelError(
            f"model {model.name!r} is not on this machine; `dissensus models pull {model.name}` fetches it"
        )


def _in_cache(hub: str, revision: str | None) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(hub, "config.json", revision=revision), str)
