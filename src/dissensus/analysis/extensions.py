"""Extensions of a study's analysis: metrics, claims and report sections of the installed packages that it names.

`analysis: {extensions: [mine]}` takes what is offered as `mine` at any of the three points, and loads no other code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dissensus.config import AnalysisSpec, nearest
from dissensus.config.extensions import ExtensionPoint
from dissensus.errors import SpecError

METRICS = ExtensionPoint(
    "dissensus.metrics", {}, "a function of a Block and the points' progress to values, shape (b,)", callable
)
"""Name of a column of the table of examples -> a `metrics.together.Kernel`. The fields of `ExampleMetrics` are built in
there, because other parts of the analysis ask for them by name; one listed here is computed for every study."""
CLAIMS = ExtensionPoint(
    "dissensus.claims", {}, "a function of ClaimStatistics and `thorough` to a list of ClaimVerdict", callable
)
"""Claims after the paper's: name -> a `claims.judging.Judge`."""
SECTIONS = ExtensionPoint(
    "dissensus.sections",
    {},
    "a function of an Analysis to a dissensus.report.sections.Section or None",
    callable,
)
"""Sections of the report: name -> a `report.sections.Writer`."""
POINTS = (METRICS, CLAIMS, SECTIONS)


def extensions_at(point: ExtensionPoint, settings: AnalysisSpec) -> dict[str, Callable[..., Any]]:
    """What there is at a point for a study: the built-in ones, then those that it names, in its order."""
    loaded = {name: point.load(name) for name in dict.fromkeys((*point.builtin, *settings.extensions))}
    return {name: value for name, value in loaded.items() if value is not None}


def packages_of(settings: AnalysisSpec) -> dict[str, dict[str, str]]:
    """Name -> group -> package and version, of each extension that a study names. Loads none of them.

    Raises:
        SpecError: nothing is offered by a name, or two packages offer it.
    """
    packages = {
        name: {point.group: package for point in POINTS if (package := point.brought_by(name)) is not None}
        for name in settings.extensions
    }
    for name, offers in packages.items():
        if not offers and not any(name in point.builtin for point in POINTS):
            known = {known for point in POINTS for known in point.names()}
            near = f"; {nearest(name, known)}" if known else ""
            raise SpecError(
                f"analysis.extensions: no metric, claim or report section is known as {name!r}{near} "
                "(or the package that brings it is not installed: install it, or take the name out of study.yaml)"
            )
    return packages
