"""Answers of Amazon's crowd HTML elements, as MTurk (`Answer.taskAnswers`) and SageMaker Ground Truth store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dissensus.data.sources.cells import FALSE, TRUE
from dissensus.data.sources.reading import Record, label_name, shown
from dissensus.data.sources.tool_exports import label_names


def form_answers(record: Record, form: object) -> dict[str, tuple[str, ...]]:
    """The labels chosen for each question of a form; questions whose answers are no labels are left out.

    A crowd-classifier has `label`, its multi-select form `labels`; radio buttons and checkboxes have one true or false
    for each option; an input has its text.

    Raises:
        DataError: the form is no object with a field for each question.
    """
    if isinstance(form, list) and len(form) == 1:
        form = form[0]  # `taskAnswers` is a list with the answers of one task
    if not isinstance(form, Mapping):
        raise record.error(f"the answer is {shown(form)}; expected an object with a field for each question")
    labels = {str(question): _labels(record, answer) for question, answer in form.items()}
    return {question: chosen for question, chosen in labels.items() if chosen is not None}


def _labels(record: Record, answer: Any) -> tuple[str, ...] | None:
    if not isinstance(answer, Mapping):
        plain = answer is None or isinstance(answer, str | int | float)
        return label_names(record, answer, "the answer") if plain else None
    for key in ("label", "labels"):
        if key in answer:
            return label_names(record, answer[key], repr(key))
    return chosen_options(Record(record.path, record.place, answer))


def chosen_options(options: Record) -> tuple[str, ...] | None:
    """The options that are true, of one true or false for each; None where they are something else.

    A checkbox alone has the one option `on`: it is then true or false itself.
    """
    words = {str(option): (label_name(value) or "").casefold() for option, value in options.values.items()}
    if not words or not set(words.values()) <= {*TRUE, *FALSE}:
        return None
    if list(words) == ["on"]:
        return ("true" if words["on"] in TRUE else "false",)
    return tuple(option for option, word in words.items() if word in TRUE)
