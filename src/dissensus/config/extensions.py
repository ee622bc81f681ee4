"""Extension points: what is known by name, built in or brought by an installed package as an entry point.

Nothing is loaded before somebody names it. A study that says `source: mine` runs the code of the installed package that
offers `mine`; no other package's code runs, and a built-in name cannot be taken over.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from dissensus.errors import SpecError


@dataclass(frozen=True)
class ExtensionPoint:
    """One kind of thing that can be added.

    Attributes:
        group: the group of entry points under which other packages offer theirs.
        builtin: name -> "module:attribute" of what dissensus brings. Strings, so that a name loads its module alone.
    """

    group: str
    builtin: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """Every name, the built-in ones first. Loads nothing."""
        return tuple(dict.fromkeys((*self.builtin, *sorted(entry_points(group=self.group).names))))

    def load(self, name: str) -> Any:
        """What is known as `name`; None where nothing is.

        Raises:
            SpecError: an installed package offers it, and it cannot be loaded.
        """
        if name in self.builtin:
            return pkgutil.resolve_name(self.builtin[name])
        for entry in entry_points(group=self.group, name=name):
            try:
                return entry.load()
            except Exception as error:
                package = entry.dist.name if entry.dist else "an installed package"
                raise SpecError(
                    f"{name!r} is offered by {package} ({entry.value}), which could not be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
        return None
