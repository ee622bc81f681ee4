"""Colours, line styles and type of every figure: one coding of the groups, in the page and in saved files."""

from __future__ import annotations

from typing import Any

# Okabe-Ito vermilion and blue, told apart by all common forms of colour blindness; line styles repeat the coding.
COLOURS: dict[str, str] = {"contested": "#c04a00", "middle": "#69717c", "settled": "#0068a8"}
DASHES: dict[str, Any] = {"contested": "-", "middle": (0, (1, 1.6)), "settled": (0, (5, 1.6))}
INK, SOFT, GRID, POINT = "#1c2127", "#5b6570", "#e3e6ea", "#6b7785"
# With label noise: what was flipped, and the settled examples that were not.
COLOURS |= {"flipped": INK, "plain": COLOURS["settled"]}
DASHES |= {"flipped": (0, (3, 1, 1, 1)), "plain": DASHES["settled"]}
# Where nobody annotated: one group of all examples.
COLOURS |= {"all": INK}
DASHES |= {"all": "-"}
MARKERS = {"contested": "^", "middle": "s", "settled": "o", "all": "o"}
"""Group -> the mark of its examples, which repeats the colour's coding."""
LABEL_COLOURS = ("#00795a", "#b0588a", "#a66f00", "#2b86b8")
LABEL_DASHES: tuple[Any, ...] = ((0, (5, 1.6)), (0, (1, 1.6)), (0, (3, 1, 1, 1)), (0, (7, 3)))
"""Labels of one example beside its gold label, which is drawn in ink: Okabe-Ito's other hues, darkened for white."""
LINES = {
    "contested": "solid",
    "middle": "dotted",
    "settled": "dashed",
    "flipped": "dash-dotted",
    "plain": "dashed",
    "all": "solid",
}
"""Group -> how its line is drawn, in words; `DASHES` is what is drawn."""
THEME = {
    COLOURS["contested"]: "--contested",
    COLOURS["middle"]: "--middle",
    COLOURS["settled"]: "--settled",
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--rule",
}
"""Colour of a saved figure -> CSS variable that takes its place in the page."""

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "svg.hashsalt": "dissensus",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # fonts as TrueType: conferences refuse Type 3
    "text.parse_math": False,  # names of data sets and models are text, dollar signs included
    "path.simplify": True,
}
