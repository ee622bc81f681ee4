"""The data set of preference pairs: rows with a prompt, two answers and votes, as TRL's trainers take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.conversations import messages_of
from dissensus.errors import DataError

SIDES = ("chosen", "rejected")
"""Labels of a pair, in this order."""


def pairs_of(
    rows: Iterable[Mapping[str, Any]], *, text: tuple[str, ...], id: str, votes: str | None, name: str
) -> AnnotatedDataset:
    """The data set of some pairs: rows with an id, the texts, and the votes (for chosen, for rejected).

    The texts are strings or messages of a conversation; rows without a prompt have it in both answers, as TRL has
    them, and it is taken from there. A row's `tools` and `chat_template_kwargs` go to the chat template.

    Args:
        rows: one mapping per pair.
        text: keys of the text fields: of the prompt, the chosen and the rejected answer.
        id: key of the id.
        votes: key of the votes: two numbers, or a mapping from 'chosen' and 'rejected'; None where there are none.
        name: of the data set.
    """
    rows = list(rows)
    lacking = [row for row in rows if votes is not None and votes not in row]
    if lacking:
        raise DataError(
            f"a pair has no {votes!r}; it has: {', '.join(map(str, lacking[0]))}. Name the votes' key, or pass "
            "votes=None where nobody was asked"
        )
    no_votes = {"chosen": 0, "rejected": 0}
    records: list[dict[str, Any]] = []
    for row in rows:
        record = {**row, "gold": SIDES[0], "counts": row[votes] if votes else no_votes}
        if len(text) == 3 and text[0] not in row and text[1] in row and text[2] in row:
            parts = shared_prompt(row[text[1]], row[text[2]], str(row.get(id)))
            record |= dict(zip(text, parts, strict=True))
        records.append(record)
    return AnnotatedDataset.from_records(records, labels=SIDES, text=text, id=id, name=name)


def shared_prompt(chosen: Any, rejected: Any, name: str) -> tuple[Any, Any, Any]:
    """Prompt, chosen and rejected of a pair whose prompt is the common beginning of its answers, as TRL takes it.

    Raises:
        DataError: they are not of one kind, or have no beginning in common.
    """
    talks = [messages_of(side) for side in (chosen, rejected)]
    if None not in talks:
        chosen, rejected = (list(side) for side in talks if side is not None)
    elif not (isinstance(chosen, str) and isinstance(rejected, str)):
        kinds = f"{type(chosen).__name__} and {type(rejected).__name__}"
        raise DataError(
            f"the pair {name!r} has no prompt, and its answers are {kinds}; expected two texts or two lists of "
            "messages"
        )
    shorter = min(len(chosen), len(rejected))
    differ = next((at for at in range(shorter) if chosen[at] != rejected[at]), max(0, shorter - 1))
    if differ < shorter and isinstance(chosen, str) and differ and chosen[differ] != rejected[differ]:
        differ -= chosen[differ - 1] == " "  # the space before an answer is the answer's
    if differ == 0:
        raise DataError(
            f"the pair {name!r} has no prompt, and its answers have no beginning in common. Give the rows a prompt"
        )
    return chosen[:differ], chosen[differ:], rejected[differ:]
