"""The package's own errors: every one names the value, what was expected and how to correct it.

`cli/app.py` turns a `DissensusError` into a message and an exit code at one place; nothing else prints errors.
"""

from __future__ import annotations


class DissensusError(Exception):
    """Base of every error that dissensus raises on purpose."""


class SpecError(DissensusError):
    """A study, a run or an option is not valid."""


class DataError(DissensusError):
    """A data file or data set is missing, malformed or inconsistent."""


class MissingFileError(DataError):
    """A data file is not on this machine."""


class ModelError(DissensusError):
    """A model cannot be found, loaded or used as asked."""


class StoreError(DissensusError):
    """A curves store is missing, incomplete, damaged or of another run."""


class MissingDependencyError(DissensusError):
    """An optional dependency is needed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'dissensus[{extra}]'"
        )
