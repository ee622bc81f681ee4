"""The paper's definitions, names and known figures: what its tables are made with and laid out by.

Source: the public code of arXiv 2604.16332. It holds four results and no more; `KNOWN` and `KNOWN_NOTES` list them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dissensus.analysis.covariates import FROM_COUNTS
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.config.analysis import CartographySpec

PROXIES = ("words_premise", "words_hypothesis", "words", *FROM_COUNTS)
"""Covariates that the paper's code holds fixed, one at a time, in learning time's correlation with entropy."""
PAPER_RESAMPLES = 10_000
SEED = 42
"""The seed of the paper's tables of one run."""
RANKS = (1, 2, 4, 8, 16, 32)
METHODS = ("LoRA r=4", "LoRA r=16", "full")
MODELS: Mapping[str, str] = {
    "roberta-base": "RoBERTa",
    "bert-base": "BERT",
    "distilbert-base": "DistilBERT",
    "deberta-v3-base": "DeBERTa",
    "qwen2.5-1.5b": "Qwen2.5-1.5B",
    "qwen2.5-3b": "Qwen2.5-3B",
    "gpt2": "GPT-2",
}
"""Name of a model, without its owner and `-uncased`, in lower case -> the paper's name, in the paper's order."""
DECODERS = ("Qwen2.5-1.5B", "Qwen2.5-3B")
CHAOSNLI: Mapping[str, str] = {"snli": "SNLI", "mnli": "MNLI", "alphanli": "alphaNLI"}
KNOWN: Mapping[tuple[str, str, str], str] = {("RoBERTa", "LoRA r=4", "SNLI"): "about .308 ± .016"}
"""Model, method, data -> the paper's rho: the only one that its code states."""
RANGE = "Paper: rho from .06 to .43 over its 25 conditions."
NO_BULK = (
    "Paper: without bulk pairs, validation accuracy is 54 % (53.8), the share of the most frequent label."
)
GPT2_FAILED = "Paper: GPT-2 failed (too small to learn NLI); no figure is given."

SCALED = "Where there are two labels, the cut points are scaled by ln 2 / ln 3, as the paper's."


def paper_settings(study: AnalysisSpec) -> AnalysisSpec:
    """The paper's definitions; our own intervals keep the study's clusters, resamples, confidence and seed."""
    return study.model_copy(
        update={
            "entropy": "plugin",
            "gold": "majority",
            "aulc": "mean",
            "cuts": (0.4, 0.7),
            "cuts_unit": "nats",
            "learned_loss": 0.693,
            "cartography": CartographySpec(include_start=True, threshold=0.5),
            "partial": "linear",
            "covariates": PROXIES,
            "calibration_bins": 15,
            "measures": (),
            "extensions": (),
        }
    )


def scaled_to_labels(settings: AnalysisSpec, labels: int) -> AnalysisSpec:
    """The paper scales its cut points by ln 2 / ln 3 where there are two labels (alphaNLI)."""
    if labels != 2 or not isinstance(settings.cuts, tuple):
        return settings
    low, high = settings.cuts
    factor = math.log(2) / math.log(3)
    return settings.model_copy(update={"cuts": (low * factor, high * factor)})


def definition_words(settings: AnalysisSpec) -> tuple[str, ...]:
    """The definitions that tables are made with, in sentences."""
    if settings.cuts is None:
        groups = f"the outer {settings.contested_share:.0%} of entropy are settled and contested"
    elif settings.cuts == "entropy_cuts":
        groups = "settled and contested by each data set's entropy_cuts"
    else:
        low, high = settings.cuts
        groups = f"settled: H at or below {low:g}, contested: H at or above {high:g} {settings.cuts_unit}"
    loss = "annotators' majority label" if settings.gold == "majority" else "stored gold label"
    area = "mean of the tracking points" if settings.aulc == "mean" else "area by the trapezoid rule"
    learned = settings.learned_loss
    return (
        f"Loss on the {loss}, natural log; AULC: {area}.",
        f"Entropy H of the annotations ({settings.entropy}); {groups}.",
        "Learning time: not defined, for the study sets no learned_loss."
        if learned is None
        else f"Learning time: number of the first tracking point with a loss below {learned:g} (never: last).",
    )


def model_name(spec: RunSpec) -> str:
    """A model as the paper calls it, or by its own label."""
    name = spec.model.name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    known = MODELS.get(name.removesuffix("-uncased").replace("_", "-"))
    if known is None:
        return spec.model.label
    further = "" if spec.model.head == "classifier" else spec.model.head
    return " ".join(part for part in (known, further, spec.model.tag) if part)


def data_name(spec: RunSpec) -> str:
    """SNLI, MNLI or alphaNLI where ChaosNLI's part is tracked; else the data set's own name."""
    tracked = spec.dataset.tracked
    part = getattr(tracked, "part", None)
    return (
        CHAOSNLI.get(part, spec.dataset.name) if tracked.source == "chaosnli" and part else spec.dataset.name
    )


def method_name(spec: RunSpec) -> str:
    """`LoRA r=4`, `IA3` or `full`, with its tag; held-out cells say so."""
    method = spec.method
    name = {"lora": f"LoRA r={method.rank}", "ia3": "IA3"}.get(method.name, method.name)
    name = f"{name} ({method.tag})" if method.tag else name
    return name if spec.regime == "trained_on" else f"{name}, held out"
