"""Extension points: what is known by name, built in or brought by an installed package as an entry point.

Nothing is loaded before somebody names it. A study that says `source: mine` runs the code of the installed package that
offers `mine`; no other package's code runs, and a built-in name cannot be taken over.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dissensus.errors import SpecError


@dataclass(frozen=True)
class ExtensionPoint:
    """One kind of thing that can be added.

    Attributes:
        group: the group of entry points under which other packages offer theirs.
        builtin: name -> "module:attribute" of what dissensus brings. Strings, so that a name loads its module alone.
        expected: what an entry point must be, in words for an error.
        fits: whether something is that.
    """

    group: str
    builtin: Mapping[str, str]
    expected: str
    fits: Callable[[Any], bool]

    def names(self) -> tuple[str, ...]:
        """Every name, the built-in ones first. Loads nothing."""
        return tuple(dict.fromkeys((*self.builtin, *sorted(entry_points(group=self.group).names))))

    def brought_by(self, name: str) -> str | None:
        """Package and version that offer `name`; None where it is built in, or nothing is known by it. Loads nothing.

        Raises:
            SpecError: two installed packages offer it.
        """
        entry = self._entry(name)
        return None if entry is None else _package(entry)

    def load(self, name: str) -> Any:
        """What is known as `name`; None where nothing is.

        Raises:
            SpecError: an installed package offers it, and it cannot be loaded or is not what is expected; or two
                packages offer it.
        """
        if name in self.builtin:
            return pkgutil.resolve_name(self.builtin[name])
        entry = self._entry(name)
        if entry is None:
            return None
        offered = f"{name!r} is offered by {_package(entry)} ({entry.value})"
        try:
            value = entry.load()
        except Exception as error:
            raise SpecError(
                f"{offered}, which could not be loaded: {type(error).__name__}: {error}"
            ) from error
        if not self.fits(value):
            raise SpecError(
                f"{offered} in the group {self.group}: expected {self.expected}, and it is "
                f"{type(value).__name__} {value!r:.80}. Tell whoever keeps that package, or uninstall it"
            )
        return value

    def _entry(self, name: str) -> EntryPoint | None:
        if name in self.builtin:
            return None
        offers = tuple(entry_points(group=self.group, name=name))
        if len(offers) > 1:
            packages = " and ".join(sorted(map(_package, offers)))
            raise SpecError(
                f"{name!r} is offered by several installed packages in the group {self.group}: {packages}. "
                "Uninstall all but one of them"
            )
        return offers[0] if offers else None


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
