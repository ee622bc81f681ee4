"""What is resampled together: texts that are shared, and what is no text."""

from __future__ import annotations

import pytest

from dissensus.analysis.clusters import PLACEHOLDERS, Clusters, cluster_by
from dissensus.errors import SpecError


def found(
    premises: list[str], field: str | None = None, *, block: int = 3, name: str = "premise"
) -> Clusters:
    ids = [f"item-{i}" for i in range(len(premises))]
    texts = [{name: words, "hypothesis": f"h{i}"} for i, words in enumerate(premises)]
    starts = range(0, len(ids), block)
    return cluster_by([(ids[s : s + block], texts[s : s + block]) for s in starts], field)


def test_a_shared_text_makes_a_cluster_spaces_and_case_aside() -> None:
    clusters = found(["A dog.", "a  DOG. ", "A cat.", "A bird.", "A cat."])
    assert clusters.labels is not None
    first, again, cat, bird, same = clusters.labels.tolist()
    assert (first, cat) == (again, same)
    assert len({first, cat, bird}) == clusters.count(5) == 3
    assert (clusters.field, clusters.reason) == ("premise", "the first text field, shared by some")


@pytest.mark.parametrize("blank", ["", "  ", "N/A", "n/a ", "-", "None", *sorted(PLACEHOLDERS)[:3]])
def test_a_placeholder_clusters_nothing(blank: str) -> None:
    clusters = found(["A dog.", blank, blank, "A dog.", blank])
    assert clusters.count(5) == 4  # the dogs, and each of the others alone
    assert clusters.reason.endswith("; 3 with none are clusters of their own")


@pytest.mark.parametrize(
    ("premises", "reason"),
    [
        (["Is this rude?"] * 12, "'premise' is the same text in every example"),
        ([""] * 12, "'premise' is blank in every example"),
        (["Is this rude?"] * 6 + ["-"] * 6, "'premise' is the same text in every example"),
        ([f"p{i}" for i in range(12)], "no two examples share their 'premise'"),
    ],
)
def test_a_field_that_says_nothing_makes_no_clusters(premises: list[str], reason: str) -> None:
    clusters = found(premises)
    assert (clusters.field, clusters.labels, clusters.count(12)) == ("none", None, 12)
    assert clusters.reason.startswith(reason)


def test_the_study_names_the_field() -> None:
    texts = ["one", "one", "two", "two"]
    assert found(texts, "none").reason == "as the study says"
    named = found(texts, "premise")
    assert (named.field, named.count(4), named.reason) == ("premise", 2, "as the study says")
    # One prompt for all is one cluster where the study says so: intervals are then withheld.
    assert found(["one"] * 4, "premise").count(4) == 1
    assert found(texts, "hypothesis").field == "none"  # no two share it
    with pytest.raises(SpecError, match=r"analysis\.clusters is 'premis', .*did you mean 'premise'"):
        found(texts, "premis")
    with pytest.raises(SpecError, match="no text is stored"):
        cluster_by([], "premise")


def test_the_first_of_several_fields_unless_there_is_a_premise() -> None:
    assert found(["one", "one", "two"], name="post").field == "post"
    one_field = cluster_by([(["a", "b"], [{"text": "same"}, {"text": "same"}])])
    assert (one_field.field, one_field.reason) == ("none", "the examples have one text field")
    asked = cluster_by([(["a", "b"], [{"text": "same"}, {"text": "same"}])], "text")
    assert asked.count(2) == 1


def test_names_sort_as_labels_do() -> None:
    clusters = found([f"p{i % 9}" for i in range(30)])
    assert clusters.labels is not None
    assert clusters.names is not None
    assert clusters.labels.argsort(kind="stable").tolist() == clusters.names.argsort(kind="stable").tolist()
