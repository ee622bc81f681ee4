"""Hidden states at step 0, computed once for all cells that begin with the same body.

At step 0 an adapter changes nothing (LoRA's B is zero, IA3's scales are one), so cells of one model, data set and
method that differ in seed or rank differ in their heads alone. The first of them leaves its states in the study's
folder; the others apply their heads to those. The numbers are the same, bit for bit, since what would be computed
again is: the same tokens, weights, batches and threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.files import atomic_file
from dissensus.models.encoding import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from dissensus.models.scoring import ScoringModel

LARGEST = 1 << 29
"""Bytes; larger states are computed again rather than kept."""

_HEADS = ("classifier", "score", "pooler", "head")
"""Modules behind the states: they may be freshly initialised, and differ from seed to seed."""


class SharedStates:
    """States (n, d) of one tracked set at step 0, in a file that other cells may have written.

    Args:
        folder: where such files are kept; made when one is written.
        identity: everything that the numbers depend on.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        digest = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()
        self._file = folder / f"start-{digest[:16]}.safetensors"
        self._digest = digest

    @classmethod
    def of(
        cls,
        folder: Path,
        model: ScoringModel,
        encoded: Encoded,
        *,
        method: str,
        token_budget: int,
        precision: str,
    ) -> SharedStates | None:
        """The states of a tracked set; None where cells of this model do not begin alike, or too much to keep."""
        import torch

        if any(name.rpartition(".")[2] not in _HEADS for name in model.fresh):
            return None
        width = int(model.base.config.hidden_size)
        if len(encoded) * width * 4 > LARGEST:
            return None
        tokens = hashlib.sha256(encoded.flat.lengths.tobytes() + encoded.flat.input_ids.tobytes())
        if encoded.flat.token_type_ids is not None:
            tokens.update(encoded.flat.token_type_ids.tobytes())
        device = next(model.module.parameters()).device
        return cls(
            folder,
            {
                "model": model.fingerprint,
                "head": model.head,
                "method": method,
                "tokens": tokens.hexdigest(),
                "token_budget": str(token_budget),
                "precision": precision,
                "torch": torch.__version__,
                "threads": str(torch.get_num_threads()),
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            },
        )

    def load(self) -> Tensor | None:
        """The states, or None where nobody left them whole."""
        import safetensors

        try:
            with safetensors.safe_open(self._file, framework="pt") as stored:
                if (stored.metadata() or {}).get("identity") != self._digest:
                    return None
                states: Tensor = stored.get_tensor("states")
                return states
        except (OSError, safetensors.SafetensorError):
            return None

    def save(self, states: Tensor) -> None:
        """Leave the states for other cells; whole or not at all."""
        import safetensors.torch

        self._file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._file) as beside:
            safetensors.torch.save_file(
                {"states": states.contiguous()}, beside, metadata={"identity": self._digest}
            )
