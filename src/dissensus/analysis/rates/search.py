"""Successive halving over learning rates: which short runs come next, and which rate they choose.

All candidates train for a small share of the training length; the better half goes on to a run of twice that length,
and so on. Where the best of a rung lies at an end of the grid, rates beyond that end join, once, and the halving starts
anew with the runs that there are. What comes next follows from the finished runs alone, so that a search that was cut
off resumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dissensus.analysis.rates.scores import Score, difference, score_of
from dissensus.config import NO_VARIANT, StudySpec, When
from dissensus.errors import StoreError
from dissensus.metrics.learning import FEWEST
from dissensus.study.rates import Searched, SearchSettings, ShortRun, beyond, search_study
from dissensus.wording import first_line, number

RunStudy = Callable[[StudySpec, When], None]
"""Runs the cells of a study that match, in the search's folder."""
GROUPS = {
    "settled": "settled examples whose gold label most annotators chose",
    "backed": "examples whose gold label most annotators chose",
    "labelled": "examples with a gold label",
}
CLOSE = 2.0
"""Standard errors within which a runner-up is as good as the best."""


@dataclass(frozen=True)
class Rung:
    """The runs of one length, best first.

    Attributes:
        share: of the training length.
        scores: by loss, those without one last.
    """

    share: float
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class RateSearch:
    """The search of one condition.

    Attributes:
        searched: the condition.
        grid: all candidates, rising.
        added: those that joined beyond an end of the grid.
        rungs: that are complete.
        wanted: runs that come next; () when the search is over.
    """

    searched: Searched
    grid: tuple[float, ...]
    added: tuple[float, ...]
    rungs: tuple[Rung, ...]
    wanted: tuple[ShortRun, ...]

    @property
    def name(self) -> str:
        """The condition's."""
        return self.searched.cell.condition

    @property
    def best(self) -> Score | None:
        """The best of the last rung; None while the search is under way, and where every run of it failed."""
        if self.wanted or not self.rungs or not self.rungs[-1].scores[0].ended:
            return None
        return self.rungs[-1].scores[0]

    @property
    def scores(self) -> tuple[Score, ...]:
        """Of every run that counted, rung by rung."""
        return tuple(score for rung in self.rungs for score in rung.scores)

    @property
    def sentence(self) -> str:
        """What was ranked, which rate is best, and how close the next one was."""
        best = self.best
        if best is None:
            return "No rate can be chosen: " + (
                "the search is not over." if self.wanted else self._no_run_ended()
            )
        last = self.rungs[-1]
        ranked = (
            f"Ranked by the mean loss at the end of {best.n} {GROUPS[best.judged_on]}: "
            f"{best.run.rate:g} is best, {number(best.loss, 3)} nats"
        )
        if len(last.scores) < 2:
            return f"{ranked}; alone at {percent(last.share)} of the training length."
        second = last.scores[1]
        if not second.ended:
            return f"{ranked}; no other run of that length ended."
        apart, error = difference(best, second)
        words = f"{ranked}; {second.run.rate:g} is {number(apart, 3)} behind"
        if not math.isfinite(error):
            return f"{words}."
        close = (
            "other examples could turn that around"
            if apart < CLOSE * error
            else "more than other examples would turn around"
        )
        words += f" (standard error over examples {number(error, 3)}): {close}"
        return f"{words}. One seed: nothing is known of others."

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know of the choice, a sentence each."""
        best = self.best
        lines = []
        if best is not None and best.run.rate in (self.grid[0], self.grid[-1]):
            end = "highest" if best.run.rate == self.grid[-1] else "lowest"
            after = (
                "also after the grid was widened once"
                if self.added
                else "and one rate makes no grid to widen"
            )
            lines.append(
                f"the best rate, {best.run.rate:g}, is the {end} that was tried, {after}: a better one may lie beyond; "
                f"give --rates with {'higher' if end == 'highest' else 'lower'} ones"
            )
        last = self.rungs[-1].scores if self.rungs and not self.wanted else ()
        if last and all(score.learned == "no" for score in last):
            reason = f" ({first_line(best.why)})" if best is not None and best.why else ""
            lines.append(
                f"nothing learned: no rate took the loss below the best constant answer's{reason}. The choice says "
                "little; train for longer (--share) or try other rates (--rates)"
            )
        if best is not None and best.judged_on != "settled":
            lines.append(
                f"ranked on {GROUPS[best.judged_on]}: fewer than {FEWEST} settled ones are backed, or they have nearly "
                "all one label"
            )
        failed = [score for score in self.scores if not score.ended]
        if failed:
            named = ", ".join(f"{score.run.rate:g}" for score in failed)
            lines.append(f"no loss at the end: {named} ({first_line(failed[0].why, 'not finite')})")
        return tuple(lines)

    def _no_run_ended(self) -> str:
        error = self.rungs[-1].scores[0].why if self.rungs else ""
        return f"every short run failed ({first_line(error, 'not finite')})."


def percent(share: float) -> str:
    """A share of the training length, for people: 6.25%."""
    return f"{100 * share:.3g}%"


def follow(
    searched: Searched, settings: SearchSettings, score: Callable[[ShortRun], Score | None]
) -> RateSearch:
    """Where the search of a condition is, given the scores of finished runs.

    Args:
        searched: the condition.
        settings: candidates and rungs.
        score: of a run; None where it is to be run.
    """
    own = searched.cell.method.learning_rate
    grid, added = settings.candidates(own), tuple[float, ...]()
    while True:
        rates, more = grid, tuple[float, ...]()
        rungs: list[Rung] = []
        for share in settings.shares:
            runs = [
                ShortRun(searched.listed, rate, share, rate == own and share == settings.first_share)
                for rate in rates
            ]
            scores = {run: score(run) for run in runs}
            if wanted := tuple(run for run, known in scores.items() if known is None):
                return RateSearch(searched, grid, added, tuple(rungs), wanted)
            ranked = sorted((one for one in scores.values() if one), key=lambda one: (one.loss, one.run.rate))
            rungs.append(Rung(share, tuple(ranked)))
            more = () if added or not ranked[0].ended else beyond(grid, ranked[0].run.rate)
            ended = [one.run.rate for one in ranked if one.ended]
            if more or len(ended) < 2:
                break
            rates = tuple(sorted(ended[: math.ceil(len(ranked) / 2)]))
        if not more:
            return RateSearch(searched, grid, added, tuple(rungs), ())
        grid, added = tuple(sorted({*grid, *more})), more


def search_rates(
    study: StudySpec, searched: Sequence[Searched], out: Path, settings: SearchSettings, run: RunStudy
) -> tuple[RateSearch, ...]:
    """Search every condition, by runs of one study in one folder; what is finished there is not run again.

    Args:
        study: the study whose rates are searched.
        searched: its conditions.
        out: the folder of the search.
        settings: candidates and rungs.
        run: runs short runs: `run_study` in that folder.

    Raises:
        StoreError: short runs were left undone.
    """
    tried: set[str] = set()
    while True:
        asked: dict[ShortRun, None] = {}

        def score(one: ShortRun, asked: dict[ShortRun, None] = asked) -> Score | None:
            asked[one] = None
            return score_of(one, out, study.analysis, given_up=one.spec.cell_id in tried)

        searches = tuple(follow(one, settings, score) for one in searched)
        wanted = {one.spec.cell_id: one for search in searches for one in search.wanted}
        if not wanted:
            return searches
        again = [name for name in wanted if name in tried]
        if again:
            raise StoreError(
                f"{len(again)} short runs are not finished, e.g. {again[0]}; run the same command again when they are "
                f"(dissensus status {out} says how far each is)"
            )
        tried.update(wanted)
        names = {one.variant or NO_VARIANT for one in wanted.values()}
        run(search_study(study, list(asked)), When(variant=tuple(sorted(names))))
