"""Kinds of a triage: mislabelled, contested, hard, forgotten, settled, not told; their titles and next steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MISLABELLED, CONTESTED, HARD, FORGOTTEN, SETTLED, NOT_TOLD = (
    "mislabelled",
    "contested",
    "hard",
    "forgotten",
    "settled",
    "not told",
)
KINDS = (MISLABELLED, CONTESTED, HARD, FORGOTTEN, SETTLED, NOT_TOLD)
"""In the order in which results list them: what asks for a person first."""

TITLES: Mapping[str, str] = {
    MISLABELLED: "Probably mislabelled",
    CONTESTED: "Contested",
    HARD: "Hard, but agreed",
    FORGOTTEN: "Learned and forgotten",
    SETTLED: "Settled and learned",
    NOT_TOLD: "Not told",
}
"""Kind -> its title for people."""

STEPS: Mapping[str, str] = {
    MISLABELLED: "Look at these labels again, the surest first.",
    CONTESTED: "People read these differently: keep every vote and train on the votes, not on one label.",
    HARD: "Keep them: the label is agreed. More examples like them, or longer training, would help.",
    FORGOTTEN: "Keep them, and look at what was trained on later: the model knew the answer and lost it.",
    SETTLED: "Nothing to do.",
    NOT_TOLD: "Collect votes, or train until the model learns something; then run triage again.",
}
"""Kind -> the step that it suggests, one sentence for the annotation lead."""


@dataclass(frozen=True)
class Triaged:
    """One example of a data set, and what its votes and curves say of it.

    Attributes:
        id: of the example.
        dataset: its name in the study; '' for a single recording.
        regime: 'held_out' or 'trained_on'.
        kind: one of `KINDS`.
        score: the probability that the kind's claim holds, in [0, 1]: of 'mislabelled' that fewer than half as many
            people would choose the label as choose the leading one; of 'contested' that people divide so that no label
            is clear; of the others that people agree with the label. NaN for 'not told'.
        label: the label that people, or the curves, agree on instead; None where there is none.
        why: the evidence, in one or two sentences.
        suspicion: the probability that the label is mislabelled, whatever the kind; NaN where nothing can be given.
            What a list of labels to look at again is sorted by.
    """

    id: str
    dataset: str
    regime: str
    kind: str
    score: float
    label: str | None
    why: str
    suspicion: float = float("nan")
