"""What the loaders and the data themselves say reaches the cell: ties, soft labels, repeats, single annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dissensus.config import DatasetSpec
from dissensus.data.annotations import AnnotatedDataset, majority
from dissensus.data.assembly import assemble
from dissensus.data.notes import facts, is_tie


def dataset(counts: list[tuple[float, ...]], texts: list[str] | None = None) -> AnnotatedDataset:
    records = [
        {"id": str(k), "text": texts[k] if texts else f"text {k}", "gold": "a", "counts": row}
        for k, row in enumerate(counts)
    ]
    return AnnotatedDataset.from_records(records, labels=("a", "b"), text=("text",))


def spec(
    tmp_path: Path, rows: list[dict[str, Any]], pool: list[dict[str, Any]], **columns: Any
) -> DatasetSpec:
    def table(name: str, given: list[dict[str, Any]]) -> dict[str, Any]:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return {"source": "table", "path": str(path), "text": ["text"], "labels": ["a", "b"], **columns}

    data = {"name": "d", "tracked": table("t", rows), "train": table("p", pool), "exclude_shared": ["text"]}
    return DatasetSpec.parse(data, "test")


def test_a_tie_needs_two_highest_counts_and_somebody_who_was_asked() -> None:
    assert [is_tie(row) for row in ((1, 1), (2, 1), (0, 0), (2, 2, 1), (3, 1, 1))] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_a_tie_of_shared_votes_is_one_in_whatever_order_they_are_added() -> None:
    one, other = (0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3)  # .6000000000000001 and .6
    assert one != other
    assert is_tie((other, one))
    assert majority((other, one)) == majority((one, other)) == 0


def test_facts_of_the_counts_and_texts() -> None:
    assert facts(dataset([(3, 1), (0, 4)])) == ()
    assert facts(dataset([(1, 0), (0, 1), (0, 0)])) == (
        "1 of 3 items have no annotations; their entropy is not defined",
        "every annotated item has one annotation: entropy is 0 everywhere and ranks nothing",
    )
    assert facts(dataset([(1, 0), (2, 2), (0.5, 1.5)], ["same", "Same ", "other"])) == (
        "1 of 3 items have one annotation; their entropy is 0",
        "some counts are not whole numbers: shares times a number of annotators, or shared votes",
        "1 of 3 items have a tie for the most frequent label; where the majority is taken for gold, the first in label "
        "order is (a, b)",
        "2 of 3 items share their text with another (1 texts)",
    )
    tied = [{"id": "x", "text": "t", "counts": (2, 2)}]
    by_majority = AnnotatedDataset.from_records(tied, labels=("a", "b"), text=("text",), gold=None)
    assert by_majority.notes == (
        "1 item has a tie for the most frequent label; the first in label order was taken (a, b)",
    )
    assert facts(by_majority) == ()  # it is said once
    assert facts(dataset([(0, 0)] * 2)) == ("no item has annotations, so that entropy is not defined",)


def test_the_notes_of_both_sides_reach_the_cell_and_leave_the_fingerprint_alone(tmp_path: Path) -> None:
    rows = [{"text": f"t {k}", "n": [2, 2] if k < 2 else [3, 1]} for k in range(6)]
    pool = [{"text": f"p {k}", "n": [1, 3]} for k in range(5)] + [
        {"text": "t 0", "n": [1, 1]},
        {"text": "p 1", "n": [4, 0]},
    ]
    data = assemble(spec(tmp_path, rows, pool, counts="n"), "held_out", sample_seed=0)
    assert data.notes == (
        "tracked set: 2 items have a tie for the most frequent label; the first in label order was taken (a, b)",
        "training pool: 1 rows repeat another row's text; their ids got a number",
        "training pool: 1 item has a tie for the most frequent label; the first in label order was taken (a, b)",
        "training pool: 1 examples were left out, for they share text with a tracked example",
    )
    bare = AnnotatedDataset(data.tracked.name, data.tracked.labels, data.tracked.examples)
    assert bare.notes != data.tracked.notes
    assert bare.fingerprint == data.tracked.fingerprint


def test_a_note_on_the_whole_file_says_so_where_a_part_is_tracked(tmp_path: Path) -> None:
    rows = [{"text": f"t {k}", "share": [k / 8, 1 - k / 8]} for k in range(8)]
    given = spec(tmp_path, rows, [{"text": "p", "share": [0, 1]}], distribution="share", annotators=4)
    data = assemble(given.model_copy(update={"tracked_size": 4}), "held_out", sample_seed=0)
    assert data.notes[0] == (
        "tracked set: counts are the shares of each label times n, the number of annotators (of all 8, of which 4 are "
        "tracked)"
    )
    # Of the eight, 4/8 to 4/8 is a tie; n = 4 makes counts such as 0.5 of odd eighths.
    assert "tracked set: 1 item has a tie for the most frequent label" in data.notes[1]
    assert any("some counts are not whole numbers" in note for note in data.notes)
