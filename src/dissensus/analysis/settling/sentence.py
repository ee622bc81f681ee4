"""Sentence of the settling analysis: what the verdicts on a setting support."""

from __future__ import annotations

from collections.abc import Sequence

from dissensus.analysis.claims.texts import counted, spread
from dissensus.analysis.settling.ends import End
from dissensus.analysis.settling.levels import AtLevel, Difference
from dissensus.analysis.settling.runs import Setting
from dissensus.analysis.settling.scopes import ONE_SEED, Scope
from dissensus.wording import interval_end, number

_SHOWN = 4


def sentence_of(
    setting: Setting,
    margin: float,
    ends: Sequence[End],
    rows: Sequence[AtLevel],
    scopes: tuple[Scope, Scope, Scope],
) -> str:
    """One sentence, built from the verdicts on all pairs, on rates and on methods."""
    everything, rates, methods = scopes
    read = [line for line in setting.lines if any(row.read for row in rows if row.line is line)]
    by_level = {level: [row for row in rows if row.read and row.level == level] for level in _levels(rows)}
    compared = [row for at_level in by_level.values() if len(at_level) > 1 for row in at_level]
    if everything.largest is None or not compared:
        return (
            f"Nothing is said of one curve or several: {everything.reason} ({len(read)} of "
            f"{counted(len(setting.lines), 'run')} came down to a level)."
        )
    levels = _levels(compared)
    down = f" down to {number(levels[-1])}" if len(levels) > 1 else ""
    where = f"at the same settled loss ({number(levels[0])}{down} nats)"
    methods_read = len({line.method for line in read})
    who = f"{counted(len(read), 'run')} of {counted(methods_read, 'method')}"
    main = {"equivalent": _one_curve, "different": _several_curves, "not told": _not_told}[everything.runs]
    parts = [main(everything, rates, methods, margin, where, who), _rise(ends, compared, margin)]
    stopped = [line.name for line in setting.lines if line not in read]
    if stopped:
        more = f" and {len(stopped) - _SHOWN} more" if len(stopped) > _SHOWN else ""
        parts.append(
            f"not compared, because they did not come down to a level or cannot be read there: "
            f"{', '.join(stopped[:_SHOWN])}{more}"
        )
    words = "; ".join(parts)
    if everything.runs != "not told" and everything.verdict == "not told":
        return f"Not told of methods in general ({ONE_SEED}); of these runs: {words}."
    return f"{words[0].upper()}{words[1:]}."


def _one_curve(_all: Scope, rates: Scope, methods: Scope, margin: float, where: str, who: str) -> str:
    words = f"{where}, {who} have the same contested loss within {number(margin)} nats, so"
    if not methods.pairs:
        return f"{words} the rates run on one curve; of other methods nothing is known"
    subject = "methods and rates run" if rates.pairs else "the methods run"
    return f"{words} {subject} on one curve: how far training got decides what contested loss has done, not the method"


def _several_curves(_all: Scope, rates: Scope, methods: Scope, margin: float, where: str, _who: str) -> str:
    if methods.runs == "different" and methods.largest is not None:
        words = f"{where}, contested loss differs between methods, most for {_pair(methods.largest)},"
        if rates.runs == "different" and rates.largest is not None:
            return (
                f"{words} and between rates of one method too, most for {_pair(rates.largest)}: more than the method "
                "decides"
            )
        if rates.runs == "equivalent":
            return f"{words} while rates of one method agree within {number(margin)} nats: it is the method's own"
        return f"{words} and whether rates of one method agree is not told"
    assert rates.largest is not None
    words = f"{where}, contested loss differs between rates of one method, most for {_pair(rates.largest)},"
    if methods.runs == "equivalent":
        return f"{words} while methods agree within {number(margin)} nats"
    return f"{words} and whether methods differ is not told"


def _not_told(everything: Scope, _rates: Scope, _methods: Scope, _margin: float, where: str, who: str) -> str:
    assert everything.largest is not None
    return (
        f"not told whether {who} run on one curve: {everything.reason}; the largest difference {where} is "
        f"{_pair(everything.largest)}"
    )


def _pair(one: Difference) -> str:
    ends = f"{interval_end(one.value.low)} to {interval_end(one.value.high)}"
    return (
        f"{one.first.name} minus {one.second.name}, {number(one.value.value)} ({ends}) at {number(one.level)}"
    )


def _rise(ends: Sequence[End], compared: Sequence[AtLevel], margin: float) -> str:
    """Whether contested loss rises at the levels that were compared, and where runs end."""
    starts = {end.line.name: end.start for end in ends}
    top, level = max((row.value.value - starts[row.line.name], row.level) for row in compared)
    words = (
        f"there it is up to {number(top)} nats above its start (at {number(level)})"
        if top > margin
        else f"there it is nowhere more than {number(margin)} nats above its start"
    )
    risen = [end for end in ends if end.change.value > margin]
    past = [end for end in ends if end.peak > margin and not end.change.value > margin]
    words += f", and {len(risen)} of {len(ends)} runs end with it risen"
    words += f" (settled loss {spread(end.settled for end in risen)})" if risen else ""
    return words + (f", {len(past)} past a rise" if past else "")


def _levels(rows: Sequence[AtLevel]) -> list[float]:
    return list(dict.fromkeys(row.level for row in rows))
