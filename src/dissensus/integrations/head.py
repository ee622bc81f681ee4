"""Untrained heads: a warning where an adapter neither trains nor saves a new classifier head."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

HEADS = ("classifier", "score", "classification_head")


def warn_of_an_untrained_head(model: Any) -> bool:
    """Warn if a sequence classifier's head takes no part in training though others do; whether it was warned.

    PEFT trains, and saves, the head only where it is told so: `task_type="SEQ_CLS"` or `modules_to_save`.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not type(base).__name__.endswith("ForSequenceClassification"):
        return False
    if not any(p.requires_grad for p in model.parameters()):
        return False
    for name in HEADS:
        head = getattr(base, name, None)
        if isinstance(head, nn.Module) and not any(p.requires_grad for p in head.parameters()):
            warnings.warn(
                f"the classifier head `{name}` is frozen while the rest trains, and would not be saved with the adapter"
                ". If it is new, its random weights decide every label: pass task_type='SEQ_CLS' (or "
                f"modules_to_save=['{name}']) to the adapter's configuration",
                UserWarning,
                stacklevel=2,
            )
            return True
    return False
