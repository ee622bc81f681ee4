"""Tables of the paper in words, as one tidy CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

from dissensus.analysis.paper.conditions import PaperReading
from dissensus.analysis.paper.layout import Entry, PaperTable
from dissensus.wording import interval_end, number

PLACE = ("model", "method", "data")
CSV_COLUMNS = (
    *("table", *PLACE, "by", "level", "measure", "value", "sd", "low", "high"),
    *("seeds", "planned", "missing", "words"),
)
_GREEK = {"α": "alpha", "κ": "kappa", "ρ": "rho", "τ": "tau", "χ": "chi", "Δ": "Delta"}
_SIGNS = {
    "−": "-",
    "±": r"\pm",
    "×": r"\times",
    "≥": r"\geq",
    "≤": r"\leq",
    "≈": r"\approx",
    "→": r"\to",
    "²": "^2",
}
_ESCAPED = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    '"': "''",
    "--": "-{}-",  # else one long dash
    "[": "{[}",  # at the start of a row, LaTeX would take it for an option of the line's end
    "*": "{*}",
    **{sign: f"${sign}$" for sign in "<>"},
    **{sign: f"${word}$" for sign, word in _SIGNS.items()},
    **{letter: f"$\\{word}$" for letter, word in _GREEK.items()},
}
_LATIN = "\u024f"
"""The last letter that pdfLaTeX knows by itself; of the other signs, these."""
_TYPOGRAPHIC = "‘’“”–—…"


def entry_words(entry: Entry) -> str:
    """An entry as a reader sees it: `0.308 ± 0.016`, `[0.21, 0.39]`, or why there is no number.

    Fewer seeds than planned are said: `0.308 ± 0.016 (2 of 3)`.
    """
    if entry.missing:
        return entry.missing
    if math.isfinite(entry.low):
        return f"[{interval_end(entry.low, entry.decimals)}, {interval_end(entry.high, entry.decimals)}]"
    if not math.isfinite(entry.value):
        return entry.words if math.isnan(entry.value) else "infinite"
    if entry.decimals < 0:
        return "<0.001" if entry.value < 0.001 else number(entry.value, 3)
    text = number(entry.value, entry.decimals)
    if math.isfinite(entry.sd):
        text += f" ± {number(entry.sd, entry.decimals)}"
    return text if entry.seeds >= entry.planned else f"{text} ({entry.seeds} of {entry.planned})"


def heading(table: PaperTable) -> str:
    """A table's name and title."""
    kind = "Table" if len(table.name) == 1 and table.name.isdigit() else "Appendix"
    name = table.name if len(table.name) == 1 or table.name.startswith("H-") else f"({table.name})"
    return f"{kind} {name}. {table.title}"


def csv_text(tables: Iterable[PaperTable]) -> str:
    """One number a line: its table, place, measure, value, spread, interval, seeds, and why it is missing.

    `by` and `level`: what further tells the row from others (rank 4, say). Empty entries have no line.
    """
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(CSV_COLUMNS)
    for table in tables:
        for row in table.rows:
            labels = dict(zip(table.stub, row.labels, strict=True))
            by = next((name for name in table.stub if name not in PLACE), "")
            place = (*(labels.get(name, "") for name in PLACE), by, labels.get(by, ""))
            for measure, entry in zip(table.columns, row.entries, strict=True):
                numbers = [
                    repr(float(x)) if math.isfinite(x) else ""
                    for x in (entry.value, entry.sd, entry.low, entry.high)
                ]
                if any(numbers) or entry.missing or entry.words:
                    further = (entry.seeds, entry.planned, entry.missing, entry.words)
                    lines.writerow((table.name, *place, measure, *numbers, *further))
    return out.getvalue()


def latex_text(reading: PaperReading, tables: Sequence[PaperTable]) -> str:
    """A LaTeX table each, below what stands above all; see `latex_file`."""
    return latex_file(top_lines(reading), tables)


def latex_file(top: Iterable[str], tables: Sequence[PaperTable]) -> str:
    """A LaTeX table each, to be read in by \\input, no wider than the text; needs the packages booktabs and graphicx.

    Names with letters beyond Latin and the signs of `escaped` need XeLaTeX or LuaLaTeX; the first line then says so.
    """
    lines = [f"% {escaped(line)}" for line in top]
    for table in tables:
        if not table.rows:
            lines += ["", f"% {escaped(heading(table))}: {escaped(table.absent)}."]
            continue
        columns = "l" * len(table.stub) + "r" * len(table.columns)
        head = " & ".join(escaped(name) for name in (*table.stub, *table.columns))
        caption = " ".join((f"{table.title}.", table.definition, *table.notes))
        lines += [
            "",
            r"\begin{table*}",
            r"\centering\small",
            r"\sbox0{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(
                " & ".join(escaped(cell) for cell in (*row.labels, *map(entry_words, row.entries))) + r" \\"
                for row in table.rows
            ),
            r"\bottomrule",
            r"\end{tabular}}%",
            r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{tab:paper-{table.name.lower()}}}",
            r"\end{table*}",
        ]
    beyond = sorted({sign for line in lines for sign in line if sign > _LATIN and sign not in _TYPOGRAPHIC})
    engine = f" Needs XeLaTeX or LuaLaTeX, and a font that has {' '.join(beyond)}" if beyond else ""
    return "\n".join((rf"% Needs \usepackage{{booktabs,graphicx}}.{engine}", *lines)) + "\n"


def escaped(text: str) -> str:
    """Text on one line with LaTeX's special characters escaped, and common signs as pdfLaTeX knows them."""
    text = " ".join(text.split())
    return re.sub("|".join(map(re.escape, _ESCAPED)), lambda match: _ESCAPED[match[0]], text)


def top_lines(reading: PaperReading) -> tuple[str, ...]:
    """What stands above all tables: the studies, and the definitions that were used."""
    return (f"From {', '.join(reading.studies)}.", *reading.definitions)
