"""Estimation of `mixed_slope`: from values by items and cells to variances, and to a slope with its standard error."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dissensus.errors import MissingDependencyError
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.mixed_rows import NAMES, Rows, is_slope

NEGLIGIBLE = 1e-5
"""A variance (of a slope: times |x|^2) below this share of the residual one is 0: the search ends no nearer to 0."""

TOLERANCE = 0.01
"""How far from the maximum of its likelihood MixedLM may stop, in standard errors of a standard deviation."""


@dataclass(frozen=True)
class Estimate:
    """Estimated variances.

    Attributes:
        variances: by `NAMES`; 0 where estimated as 0, absent where the design does not tell it.
        converged: whether the search ended as it should.
        note: what to know about it, '' for nothing.
    """

    variances: Mapping[str, float]
    converged: bool
    note: str


def library() -> Any:
    """The module of statsmodels that has MixedLM.

    Raises:
        MissingDependencyError: statsmodels is not installed.
    """
    try:
        from statsmodels.regression import mixed_linear_model
    except ImportError:
        raise MissingDependencyError("statsmodels", "mixed", "a mixed-effects model") from None
    return mixed_linear_model


def estimate(rows: Rows, mixedlm: Any) -> Estimate:
    """Variances by restricted maximum likelihood, found in two steps.

    First a bounded search of our own, on matrices of cells x cells, which takes milliseconds and can end at a variance
    of exactly 0. Then MixedLM from there, without the effects that are 0, on all rows: what it finds is the
    result, and that it need not go anywhere is the check. Left to itself it is not to be relied on here: it has no
    bounds (past 0 its gradient has the wrong sign, close to 0 its fixed effects take a variance for infinite), and it
    judges convergence by the mean over all values, to which the spread over three seeds hardly matters.
    """
    found = _search(rows)
    if found["residual"] <= 2 * _least(rows):
        return Estimate(
            {}, False, "no estimate: an item's values do not differ between cells beyond intercept and slope"
        )
    kept = {
        name: v for name, v in found.items() if v * rows.scale(name) ** 2 > NEGLIGIBLE * found["residual"]
    }
    zero = [name for name in NAMES if name in found and name not in kept]
    notes = [f"estimated as 0: {', '.join(f'sd_{name}' for name in zero)}"] if zero else []
    fitted, failure = _fit(rows, kept, mixedlm) if len(kept) > 1 else (kept, "")
    if failure:
        notes.append(f"not converged: {failure}")
    return Estimate({**fitted, **dict.fromkeys(zero, 0.0)}, not failure, "; ".join(notes))


def slope_of(rows: Rows, found: Estimate) -> tuple[float, float, float]:
    """The fixed slope, its standard error and its degrees of freedom, given the variances.

    With V the covariance of the row of x and r that row, b = 1'V^-1 r / (|x| 1'V^-1 1), of variance f = 1 / (|x|^2
    1'V^-1 1). Satterthwaite: df = 2 f^2 / (g'I^-1 g), with g the derivatives of f by the variances and I their
    expected information (F. G. Giesbrecht and J. C. Burns, "Two-stage analysis based on a mixed model", Biometrics 41,
    1985). Variances that are 0 count as known.
    """
    variances = {name: v for name, v in found.variances.items() if v > 0}
    if "residual" not in variances:
        return float("nan"), float("nan"), float("nan")
    inverse, inner = rows.precisions(variances)
    weights = inverse.sum(axis=1) / inverse.sum()
    f = float(1 / inverse.sum())
    about = inverse - np.outer(weights, weights) / f
    shapes = [rows.shapes[name] for name in variances]
    gradient = np.array([weights @ shape @ weights for shape in shapes])
    own = [about @ shape for shape in shapes]
    other = [inner @ shape * (not is_slope(name)) for name, shape in zip(variances, shapes, strict=True)]
    information = np.array([[np.sum(a * b.T) for b in own] for a in own])
    information += len(rows.others) * np.array([[np.sum(a * b.T) for b in other] for a in other])
    spread = gradient @ np.linalg.pinv(information / 2, hermitian=True) @ gradient
    return (
        float(weights @ rows.slopes) / rows.length,
        float(np.sqrt(f)) / rows.length,
        float(2 * f**2 / spread),
    )


def _least(rows: Rows) -> float:
    """The least residual variance that the search admits, so that every covariance has an inverse."""
    return 1e-9 * float(np.trace(rows.products)) / rows.others.size


def _search(rows: Rows) -> dict[str, float]:
    """The variances, at least 0, at the maximum of the restricted likelihood."""
    from scipy import optimize  # here, because its import takes longer than the rest of `import dissensus`

    names = list(rows.shapes)
    total = float(np.trace(rows.products)) / rows.others.size
    start = np.array([np.var(rows.slopes) + total if is_slope(k) else total for k in names]) / len(names)
    # Steps of about a standard error each: a variance that is seen in L draws has one of about sqrt(2 / L) of itself.
    draws = [rows.effects[k].shape[1] if k in rows.effects else len(rows.slopes) for k in names]
    draws = [d if is_slope(k) else d * (1 + len(rows.others)) for k, d in zip(names, draws, strict=True)]
    unit = start * np.sqrt(2 / np.array(draws))
    scale = np.array([rows.scale(k) ** 2 for k in names])

    def loss(steps: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _minus_likelihood(rows, dict(zip(names, steps * unit / scale, strict=True)))
        return value, gradient * unit / scale

    least = [_least(rows) / unit[i] if name == "residual" else 0.0 for i, name in enumerate(names)]
    found = optimize.minimize(
        loss,
        start / unit,
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, None) for low in least],
        options={"ftol": 1e-14, "gtol": 1e-6, "maxiter": 2000, "maxfun": 4000},
    )
    return {name: float(v) for name, v in zip(names, found.x * unit / scale, strict=True)}


def _minus_likelihood(rows: Rows, variances: Mapping[str, float]) -> tuple[float, FloatArray]:
    """Minus the restricted log-likelihood, less a constant, and its derivatives by the variances."""
    m = len(rows.others)
    inverse, inner = rows.precisions(variances)
    about = inverse - np.outer(inverse.sum(axis=1), inverse.sum(axis=1)) / inverse.sum()
    seen, other = about @ rows.slopes, inner @ rows.products @ inner
    logs = np.log(inverse.sum()) - np.linalg.slogdet(inverse)[1] - m * np.linalg.slogdet(inner)[1]
    value = (logs + rows.slopes @ seen + np.sum(inner * rows.products)) / 2
    gradient = []
    for name in variances:
        shape = rows.shapes[name]
        slope = np.sum(about * shape) - seen @ shape @ seen
        gradient.append(slope / 2 + (0 if is_slope(name) else np.sum((m * inner - other) * shape) / 2))
    return float(value), np.array(gradient)


def _fit(rows: Rows, start: Mapping[str, float], mixedlm: Any) -> tuple[dict[str, float], str]:
    """MixedLM's variances of what is in `start`, and why they cannot be trusted ('' where they can)."""
    names = [name for name in start if name != "residual"]
    cells, groups = len(rows.slopes), 1 + len(rows.others)
    # MixedLM looks for standard deviations, by the mean likelihood of a value. One seen in L draws has a standard error
    # of about sd / sqrt(2 L); in units of that times sqrt(values), all count the same for its tolerance.
    draws = {k: rows.effects[k].shape[1] * (1 if is_slope(k) else groups) for k in names}
    at = {k: float(np.sqrt(2 * draws[k] / (groups * cells))) for k in names}
    unit = {k: np.sqrt(start[k] / start["residual"]) * rows.scale(k) / at[k] for k in names}
    # Only x's row, the first group, holds slopes: in the others their designs have no column.
    designs = [
        [rows.effects[k] * unit[k]]
        + [rows.effects[k][:, : 0 if is_slope(k) else None] * unit[k]] * (groups - 1)
        for k in names
    ]
    labels = [[[str(j) for j in range(m.shape[1])] for m in design] for design in designs]
    fixed = np.repeat(np.arange(groups) == 0, cells).astype(np.float64)[:, None]
    values = np.append(rows.slopes, rows.others.ravel())
    try:
        # It warns of any variance below 0.01 and of what `converged` says; the result carries what there is to know.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec = mixedlm.VCSpec(names, labels, designs)
            model = mixedlm.MixedLM(values, fixed, np.repeat(np.arange(groups), cells), exog_vc=spec)
            fit = model.fit(
                start_params=np.array(list(at.values())), method="bfgs", gtol=TOLERANCE / np.sqrt(len(values))
            )
    except (np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
        return dict(start), f"MixedLM failed ({error}); the variances are those that it was started from"
    vcomp = zip(names, np.atleast_1d(fit.vcomp), strict=True)
    found = {k: float(v) * (unit[k] / rows.scale(k)) ** 2 for k, v in vcomp} | {"residual": float(fit.scale)}
    if not fit.converged:
        return found, "MixedLM did not reach the maximum of its likelihood"
    if not np.allclose(list(found.values()), [start[k] for k in found], rtol=0.1, atol=0):
        return found, "MixedLM found other variances than the search that it was started from"
    return found, ""
