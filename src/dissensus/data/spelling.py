"""Spellings: what two spellings of one label or id share, and the join of ids that two files spell differently."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dissensus.errors import DataError

_UNSEEN = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad]")
"""Characters that nobody sees: zero-width spaces, byte order marks, marks of direction, soft hyphens."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def spelling_key(name: str) -> str:
    """What spellings of one name share: NFKC, case folded, spaces joined, no unseen characters or needless zeros."""
    key = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", name)).casefold().split())
    if not _NUMBER.fullmatch(key):
        return key
    whole, _, fraction = key.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    number = f"{whole}.{fraction}" if fraction else whole
    return f"-{number}" if key.startswith("-") and number != "0" else number


def bare_key(name: str) -> str:
    """What names share that differ in quotation marks around them, or in hyphens or underscores between letters."""
    key = spelling_key(name)
    bare = _QUOTES.sub("", key) or key
    return spelling_key(bare) if _NUMBER.fullmatch(bare) else _JOINTS.sub("", bare)


_QUOTES = re.compile(r"""^["'`\u2018-\u201f]+|["'`\u2018-\u201f.,;:!]+$""")
_JOINTS = re.compile(r"(?<=[^\W\d_])[\s_\u2010-\u2015-]+(?=[^\W\d_])")


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ in spelling alone, together; nothing of a name that has no such twin."""
    return _together(names, spelling_key)


def nearly_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ in quotation marks, hyphens or underscores alone (`bare_key`), together."""
    return _together(names, bare_key)


def _together(names: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    by_key: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        by_key[key(name)][name] = None
    return [tuple(same) for same in by_key.values() if len(same) > 1]


@dataclass(frozen=True, slots=True)
class IdMatch:
    """Ids of one file, matched with those of another.

    Attributes:
        known: id -> the other file's id; only for ids that have one.
        respelt: (id, the other file's id) where the two differ in spelling alone.
    """

    known: Mapping[str, str]
    respelt: tuple[tuple[str, str], ...]

    def notes(self, of: str) -> list[str]:
        """A sentence where ids were joined that are spelt differently; `of` says whose they are."""
        if not self.respelt:
            return []
        one, other = self.respelt[0]
        return [
            f"{len(self.respelt)} ids are spelt otherwise {of} and were joined all the same, e.g. {one!r} with "
            f"{other!r}"
        ]


def match_ids(ids: Sequence[str], others: Iterable[str], where: str) -> IdMatch:
    """Match ids that are the same; then those left over that differ in spelling alone (1 and 1.0, 7 and 007, a and A).

    Args:
        ids: of the one file.
        others: of the other.
        where: both files, for messages.

    Raises:
        DataError: ids that differ in spelling alone have more than one id to be joined with.
    """
    theirs = set(others)
    known = {name: name for name in ids if name in theirs}
    left: dict[str, list[str]] = defaultdict(list)
    for name in sorted(theirs - known.keys()):
        left[spelling_key(name)].append(name)
    respelt: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in dict.fromkeys(ids):
        if name in known:
            continue
        twins = left.get(spelling_key(name), [])
        if len(twins) > 1 or (twins and twins[0] in taken):
            both = twins if len(twins) > 1 else [taken[twins[0]], name]
            one = name if len(twins) > 1 else twins[0]
            raise DataError(
                f"{where}: the id {one!r} could be joined with {both[0]!r} and with {both[1]!r}, which differ from it "
                "in spelling alone. Write ids alike in both files"
            )
        if twins:
            taken[twins[0]] = name
            respelt[name] = twins[0]
    return IdMatch({**known, **respelt}, tuple(respelt.items()))
