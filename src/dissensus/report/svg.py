"""SVG inside the page: matplotlib's made fit for it, and two small drawings made by hand."""

from __future__ import annotations

import re

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from dissensus.report.palette import DASHES, THEME
from dissensus.report.tables import Estimate

FloatArray = NDArray[np.float64]

KEY_WIDTH = 2.4
"""Width of the lines of a legend, in units of their drawing."""


def inline_svg(svg: str, prefix: str, label: str) -> Markup:
    """Matplotlib's SVG made fit for a page: no prologue, CSS colours, the page's font, unique ids, a label."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}-", body)
    for colour, variable in THEME.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1", body)
    opening = re.search(r'viewBox="[^"]*"', body)
    assert opening is not None  # matplotlib always writes one
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {opening[0]}'
    body = f'{head} role="img" aria-label="{escape(label)}">' + body[body.index(">") + 1 :]
    return _trusted(re.sub(r"\n\s*", "\n", body).strip())


def key(group: str) -> Markup:
    """A stretch of the line that figures draw for a group, for a legend; the text beside it names the group."""
    dashes = DASHES[group]
    pattern = ""
    if not isinstance(dashes, str):  # as matplotlib has it: an offset, then lengths in line widths
        pattern = f' stroke-dasharray="{" ".join(f"{KEY_WIDTH * part:g}" for part in dashes[1])}"'
    return _trusted(
        f'<svg viewBox="0 0 38 10" aria-hidden="true"><path stroke-width="{KEY_WIDTH}"{pattern} d="M0 5H38"/></svg>'
    )


def sparkline(values: FloatArray, ylim: tuple[float, float], label: str) -> Markup:
    """A tiny curve as inline SVG, 120 x 32 units, on a scale shared by its neighbours; NaN breaks the line."""
    low, high = ylim
    x = np.linspace(3, 117, len(values)) if len(values) > 1 else np.array([60.0])
    y = 29 - 26 * (values - low) / ((high - low) or 1.0)
    ok = np.isfinite(y)
    path = " ".join(
        f"{'L' if i and ok[i - 1] else 'M'}{x[i]:.1f} {y[i]:.1f}" for i in range(len(values)) if ok[i]
    )
    dots = ""
    if ok.any():
        last = int(np.flatnonzero(ok)[-1])
        dots = f'<circle cx="{x[last]:.1f}" cy="{y[last]:.1f}" r="2.6"/>'
    return _trusted(
        f'<svg class="spark" viewBox="0 0 120 32" role="img" aria-label="{escape(label)}">'
        f'<path d="{path}"/>{dots}</svg>'
    )


def interval(estimate: Estimate, *, scale: tuple[float, float]) -> Markup:
    """A point with its interval as inline SVG, zero marked; decoration, since the numbers stand beside it."""
    low, high = scale
    if not estimate.defined:
        return Markup("")

    def at(value: float) -> float:
        return 4 + 112 * (min(max(value, low), high) - low) / (high - low)

    whisker = ""
    if estimate.interval_known:
        whisker = f'<path d="M{at(estimate.low):.1f} 7H{at(estimate.high):.1f}"/>'
    return _trusted(
        f'<svg class="interval" viewBox="0 0 120 14" aria-hidden="true"><path class="zero" d="M{at(0):.1f} 0V14"/>'
        f'{whisker}<circle cx="{at(estimate.value):.1f}" cy="7" r="3.2"/></svg>'
    )


def _trusted(svg: str) -> Markup:
    """SVG that was drawn here, every label in it escaped: the template must not escape it again."""
    return Markup(svg)  # noqa: S704
