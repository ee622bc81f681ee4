"""Out-of-memory errors: recognised among other failures, and held memory given back."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, torch's, or a backend's in words."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).casefold()


def free_memory() -> None:
    """Give back what torch keeps for later and nobody uses; call it when the failed call's frames are gone."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
