"""Settling of one setting: its ends, its readings at common levels, verdicts and their sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.analysis.settling.ends import End, line_ends
from dissensus.analysis.settling.levels import AtLevel, Difference, differences, read_levels
from dissensus.analysis.settling.runs import Setting
from dissensus.analysis.settling.scopes import Scope, scope_of
from dissensus.analysis.settling.sentence import sentence_of

MARGIN = 0.05
"""Nats within which two contested losses are the same, unless another margin is given."""


@dataclass(frozen=True, eq=False)
class Settling:
    """What the settling analysis says of one setting.

    Attributes:
        setting: its lines.
        margin: nats.
        ends: where each line ends.
        rows: every line at every level.
        differences: of the pairs.
        scopes: verdicts on all pairs, on rates and on methods.
        sentence: what the results support, in one sentence.
    """

    setting: Setting
    margin: float
    ends: tuple[End, ...]
    rows: tuple[AtLevel, ...]
    differences: tuple[Difference, ...]
    scopes: tuple[Scope, Scope, Scope]
    sentence: str

    @property
    def levels(self) -> tuple[float, ...]:
        """From the highest."""
        return tuple(dict.fromkeys(row.level for row in self.rows))


def settle(setting: Setting, *, margin: float = MARGIN, levels: Sequence[float] = ()) -> Settling:
    """Read a setting; see `levels.py` for the reading, and the module's first lines for the verdict.

    Args:
        setting: the lines.
        margin: of equivalence, nats.
        levels: settled losses at which contested losses are compared; default: every tenth of a nat.
    """
    ends = line_ends(setting)
    rows = read_levels(setting, margin, levels)
    apart = differences(setting, rows, margin)
    alpha = 1 - setting.statistics.settings.confidence
    scopes = (
        scope_of("all", apart, alpha),
        scope_of("rates", [one for one in apart if one.same_method], alpha),
        scope_of("methods", [one for one in apart if not one.same_method], alpha),
    )
    return Settling(
        setting, margin, ends, rows, apart, scopes, sentence_of(setting, margin, ends, rows, scopes)
    )
