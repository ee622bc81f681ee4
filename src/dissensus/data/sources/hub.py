"""Data sets of the Hugging Face hub, through the optional package `datasets`."""

from __future__ import annotations

from typing import Any

from dissensus.errors import DataError, MissingDependencyError
from dissensus.wording import first_line


def load_hub(name: str, *, split: str, config: str | None = None) -> Any:
    """One split of a hub data set, as a `datasets.Dataset`. No code of the data set is run.

    Raises:
        MissingDependencyError: the `hub` extra is not installed.
        DataError: the hub cannot be reached, or has no such data set, configuration or split.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("datasets", "hub", f"reading {name!r} from the hub") from None
    try:
        return datasets.load_dataset(name, config, split=split)
    except Exception as error:  # noqa: BLE001 - the library raises its dependencies' errors, of many classes
        raise DataError(
            f"the data set {name!r} (configuration {config or 'default'}, split {split!r}) could not be read from "
            f"the hub: {type(error).__name__}: {first_line(error, 'no reason given')}. "
            "Check its name and the network, or name a local file with `path`."
        ) from None
