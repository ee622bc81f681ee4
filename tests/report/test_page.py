"""The page as a whole: self-contained, escaped, repeatable, readable whatever the study holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dissensus.analysis.tables import analyze
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import SpecError
from dissensus.report.page import build, render, write_report
from dissensus.report.provenance import scrub
from dissensus.report.quotes import kept_quotes, read_quotes
from synthetic_study import dataset, made_losses, study_spec, write_study

FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}
HOSTILE = (
    "<script>alert(1)</script>",
    "\u202eright to left שלום",
    "family 👩‍👩‍👧‍👦 and {{ 7 * 7 }} and {% raw %}",
    "x" * 10_000,
    "quote \" and ' and a bell \x07 & <img src=x onerror=alert(2)></script><!-- \u2028 \x1b[31mred",
)


class Reader(HTMLParser):
    """Collects what a browser would see: elements with their attributes, text outside of style, scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "link", "wbr", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data


def report(folder: Path, **options: object) -> str:
    study = options.pop("study", None) or study_spec()
    write_study(folder, study, **options)  # type: ignore[arg-type]
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(tmp_path_factory.mktemp("plain") / "study", failed=[1], study=study_spec(seeds=[0, 1]))


def test_the_page_asks_for_nothing_outside_itself(plain: str) -> None:
    page = Reader(plain)
    assert not page.open
    assert {"link", "iframe", "object", "img", "base", "form"}.isdisjoint(t for t, _ in page.elements)
    assert [attrs for tag, attrs in page.elements if tag == "script"] == [
        {"type": "application/json", "id": "items-data"},  # data, which no browser runs
        {},
    ]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in plain
    )
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
    ):
        assert word not in page.scripts[1]
    for tag, attrs in page.elements:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"@import|url\((?!#)", plain)


def test_links_lead_somewhere_and_ids_are_unique(plain: str) -> None:
    page = Reader(plain)
    ids = Counter(attrs["id"] for _, attrs in page.elements if "id" in attrs)
    assert [name for name, n in ids.items() if n > 1] == []
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert len(links) > 8
    assert all(link and link[1:] in ids for link in links)
    labelled = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
    assert all(name in ids for name in labelled)


def test_figures_and_tables_can_be_read_without_eyes(plain: str) -> None:
    page = Reader(plain)
    pictures = [attrs for tag, attrs in page.elements if tag == "svg" and "aria-hidden" not in attrs]
    assert len(pictures) >= 2 * 2  # two conditions, two plots each, and the sparklines
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in pictures)
    headers = [attrs for tag, attrs in page.elements if tag == "th"]
    assert all("scope" in attrs for attrs in headers)
    assert dict(page.elements)["html"] == {"lang": "en"}


def test_the_page_says_what_was_run_and_what_is_missing(plain: str) -> None:
    text = " ".join(Reader(plain).text.split())
    assert "held out: tracked examples are never trained on" in text
    assert "the data set's original label" in text
    assert "LoRA, rank 8 (learning rate 0.001); full fine-tuning (learning rate 5e-05)" in text
    assert "no ChaosNLI item was among them" in text
    assert "ModelError: no weights for this model" in text
    assert "One cell has no result" in text
    assert "model fingerprint: abababababababab" in text
    assert "dissensus run made.yaml" in text


def test_the_same_study_gives_the_same_page_wherever_it_lies(tmp_path: Path) -> None:
    places = [tmp_path / "here" / "a", tmp_path / "there"]
    study = study_spec(seeds=[0, 1], **FULL)
    pages = [report(place, study=study) for place in places]
    assert pages[0] == pages[1]
    assert write_report(places[0]).read_text(encoding="utf-8") == pages[0]  # from the stored tables
    assert str(tmp_path) not in pages[0]
    for name in ("curves.svg", "curves.png", "entropy_aulc.svg", "entropy_aulc.png"):
        first, second = ((place / "figures" / name).read_bytes() for place in places)
        assert first == second
        assert len(first) > 3000


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    study = study_spec(
        title="<script>alert('title')</script>", description="</style><b onclick=x>bold</b>", **FULL
    )
    data = dataset(30, text=lambda i: HOSTILE[i % len(HOSTILE)])
    # The loss of item i rises by i / 30: the last five, one of each kind, are shown.
    page = report(
        tmp_path / "s",
        study=study,
        data=data,
        losses=lambda n, t, _: 1 + np.outer(np.arange(n) / n, np.linspace(0, 1, t)),
    )
    read = Reader(page)
    assert {"img", "b"}.isdisjoint(tag for tag, _ in read.elements)
    assert [tag for tag, _ in read.elements].count("script") == 2
    strings = json.loads(read.scripts[0])["strings"]
    assert set(HOSTILE) <= set(strings)  # whole, for whoever exports them
    assert not set("<>&\u2028") & set(read.scripts[0])
    assert "<script>alert(1)</script>" in read.text
    assert "{{ 7 * 7 }} and {% raw %}" in read.text
    assert "👩‍👩‍👧‍👦" in read.text
    assert "\x07" not in page
    assert "x" * 420 + " … (9580 more characters)" in read.text
    assert "x" * 421 not in read.text
    # An override of the reading direction must not leak out of its own element.
    assert re.search(r'<bdi dir="auto">\u202eright to left', page)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_study_without_a_single_number_still_has_a_page(tmp_path: Path, value: float) -> None:
    page = report(
        tmp_path / "s", study=study_spec(**FULL), n=12, losses=lambda n, t, _: np.full((n, t), value)
    )
    text = Reader(page).text
    assert "is undefined in every condition" in text
    assert "no defined value" in text
    assert "nan" not in re.findall(r"[a-z]+", text)


@pytest.mark.parametrize(("n", "points"), [(20, 1), (2, 3), (1, 3)])
def test_the_smallest_studies_have_a_page(tmp_path: Path, n: int, points: int) -> None:
    page = report(tmp_path / "s", study=study_spec(**FULL), n=n, points=points)
    assert "Conditions with fewer than 50 tracked examples: 1 of 1" in Reader(page).text


def test_eight_conditions_of_1500_examples_stay_under_three_megabytes(tmp_path: Path) -> None:
    study = study_spec(
        models=[{"name": "minilm-l6"}, {"name": "smollm2-135m"}], regimes=["held_out", "trained_on"]
    )
    page = report(
        tmp_path / "s", study=study, n=1500, points=20, losses=lambda n, t, k: made_losses(n, t, k % 3)
    )
    assert page.count("<article") == 8
    assert len(page.encode()) < 3_000_000
    families = re.findall(r"<h3>(.*?)</h3>", page)
    assert families == [
        "snli · minilm-l6 · held out",
        "snli · minilm-l6 · trained on",
        "snli · smollm2-135m · held out",
        "snli · smollm2-135m · trained on",
    ]


def test_captions_tell_what_each_condition_ran_with_and_prompts_stay_text(tmp_path: Path) -> None:
    prompt = "<b>{premise}</b>\n{hypothesis}"
    rule = {
        "when": {"method": "full"},
        "set": {"method": {"learning_rate": 2e-5}, "training": {"epochs": 4}},
    }
    study = study_spec(
        models=[
            {"name": "smollm2-135m", "head": "verbalizer", "prompt": prompt, "label_words": ["y", "?", "n"]}
        ],
        overrides=[rule],
    )
    read = Reader(report(tmp_path / "s", study=study, n=12, provenance={"train_examples": 12345}))
    text = " ".join(read.text.split())
    assert "Learning rate 0.001, 1 epoch over 12,345 training examples, batches of 32: 100 steps" in text
    assert "Learning rate 2e-05, 4 epochs over 12,345 training examples, batches of 32: 100 steps" in text
    assert "words y, ?, n; prompt “<b>{premise}</b> ⏎ {hypothesis}”" in text
    assert "b" not in {tag for tag, _ in read.elements}


def test_settings_of_cells_without_a_result_are_not_on_the_page(tmp_path: Path) -> None:
    text = " ".join(Reader(report(tmp_path / "s", failed=[1], n=12)).text.split())
    assert "LoRA, rank 8 (learning rate 0.001)" in text
    assert "learning rate 5e-05" not in text


def test_errors_lose_the_folders_of_absolute_paths() -> None:
    assert scrub("cannot read /srv/a b/x.json: gone") == "cannot read …/a b/x.json: gone"
    assert scrub(r"no file C:\Users\me\data.csv") == "no file …/data.csv"
    assert scrub("held_out and/or 3/4 of org/name") == "held_out and/or 3/4 of org/name"
    assert len(scrub("y" * 5000)) < 700


def test_a_page_can_be_passed_on_without_the_texts(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(), n=30)
    whole = write_report(tmp_path).read_text()
    texts = re.findall(r'<bdi dir="auto">(.*?)</bdi>', whole)
    assert len(texts) > 4
    few = re.findall(r'<bdi dir="auto">(.*?)</bdi>', write_report(tmp_path, quotes=1).read_text())
    assert 0 < len(set(few)) <= 2  # premise and hypothesis of one example, which more than one list may show
    none = write_report(tmp_path, quotes=0).read_text()
    assert '<bdi dir="auto">' not in none
    assert whole.count('<span class="id">') == none.count('<span class="id">')


def test_a_choice_of_quotes_is_kept_with_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_study(folder, study_spec(), n=30)
    write_report(folder, quotes=0)
    for place in (folder, Path(shutil.copytree(folder, tmp_path / "copy"))):
        page = write_report(place).read_text(encoding="utf-8")
        assert '<bdi dir="auto">' not in page
        assert "No text of the data is shown here; examples stand by id." in page
        assert "dissensus report made --quotes 0</code>" in page  # also when it is reproduced
    assert '<bdi dir="auto">' in write_report(folder, quotes="all").read_text(encoding="utf-8")
    assert '<bdi dir="auto">' in write_report(folder).read_text(encoding="utf-8")


def test_a_choice_that_cannot_be_read_writes_no_page(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(**FULL), n=12)
    for text in ("{", "[]", '{"quotes": -1}', '{"quotes": "none"}', '{"quotes": true}', "{}"):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(SpecError, match=r"report\.json cannot be read.*--quotes N"):
            write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    write_report(tmp_path, quotes=2)
    assert kept_quotes(tmp_path) == 2
    with pytest.raises(SpecError):  # and nothing is written where there is no study
        write_report(tmp_path / "nowhere", quotes=0)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(("text", "quotes"), [("0", 0), ("12", 12), ("all", "all")])
def test_quotes_are_a_number_or_all(text: str, quotes: object) -> None:
    assert read_quotes(text) == quotes
    with pytest.raises(SpecError, match="expected a whole number of examples from 0, or all"):
        read_quotes(f"-{text}0x")


def test_every_command_on_the_page_can_be_typed(plain: str) -> None:
    commands = unescape(re.search(r"<pre tabindex=\"0\"><code>(pip.*?)</code></pre>", plain, re.DOTALL)[1])  # type: ignore[index]
    assert commands.splitlines() == [
        "pip install '.[train]'",
        "dissensus run made.yaml --out made",
        "dissensus report made",
    ]
    assert "installed from its repository, in a clone at version" in plain
    assert "dissensus[train]" not in plain  # no index has that name


TWEETS = {
    "datasets": [
        {
            "name": "tw",
            "tracked": {"source": "table", "path": "t.csv", "text": ["text"], "annotations": ["a", "b", "c"]},
        }
    ],
    "regimes": ["trained_on"],
}


def tweets(n: int) -> AnnotatedDataset:
    """Posts with three annotations each, of 0 or 1 (2 is never chosen), gold 0."""
    counts = [(3.0, 0.0, 0.0), (2.0, 1.0, 0.0), (1.0, 2.0, 0.0), (0.0, 3.0, 0.0)]
    made = (Example(f"tw-{i}", {"text": f"A post about thing {i}."}, 0, counts[i % 4]) for i in range(n))
    return AnnotatedDataset("tw", ("0", "1", "2"), tuple(made))


def test_a_page_about_posts_speaks_of_posts(tmp_path: Path) -> None:
    study = study_spec(**TWEETS, **FULL)
    page = report(tmp_path, study=study, data=tweets(40), provenance={"data_notes": ["6 ties: first label"]})
    text = " ".join(Reader(page).text.split())
    for word in ("premise", "hypothesis", "pair of", "ChaosNLI"):
        assert word not in text, word
    assert "label 0 gold" in text
    assert "label 1" in text
    assert "more annotators chose label 1 than the gold label" in text
    assert "<dt>Note on the data</dt><dd>6 ties: first label</dd>" in page
    assert "each example is drawn by itself" in text


def test_captions_say_what_is_drawn(tmp_path: Path) -> None:
    text = " ".join(
        Reader(report(tmp_path, study=study_spec(**TWEETS, **FULL), data=tweets(40))).text.split()
    )
    # Entropies of (3, 0), (2, 1), (1, 2), (0, 3): 0 and .918, twenty each.
    assert (
        "Dots: 40 examples, spread a little sideways. Line: median AULC at each of the 2 values of entropy (0.00 bits: "
        "20 examples; 0.92 bits: 20); band: middle half." in text
    )
    assert "Mean gold-label loss by entropy group: contested 20, settled 20 examples." in text
    assert "contested: most entropy (solid) middle (dotted) settled: least entropy (dashed)" in text
    assert "thin lines are single seeds" not in text


def test_a_condition_that_did_not_learn_lists_nothing_and_says_so_first(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(), n=60)
    whole = analyze(tmp_path)
    rows = whole.conditions.to_pylist()
    rows[0] |= {"learned": "no", "learned_why": "all 60 answers are one label"}
    page = render(build(replace(whole, conditions=pa.Table.from_pylist(rows))))
    text = " ".join(Reader(page).text.split())
    said = "Did not learn: snli · minilm-l6 · held out · LoRA, rank 8: all 60 answers are one label."
    assert f"What this says {said} Its un-learned shares and lists of examples are withheld." in text
    reason = "the model did not learn: all 60 answers are one label"
    assert text.count(f"Withheld: {reason}. A ranking of examples would rest on noise.") == 1
    assert (
        text.count("withheldthe model did not learn") == 2
    )  # in place of the shares of the contested and the settled group
    assert text.count("un-learned example") == 1  # the list of the other condition
    assert "The condition that did not learn is counted in none of these sentences." in text


def test_old_tables_give_a_page(tmp_path: Path) -> None:
    """Columns that an earlier version did not have are not needed."""
    write_study(tmp_path, study_spec(), n=60)
    analysis = analyze(tmp_path)
    new = ("learned", "why", "judged", "cluster", "backed", "rejected", "seeds_not")
    kept = [c for c in analysis.conditions.column_names if not any(part in c for part in new)]
    old = replace(analysis, conditions=analysis.conditions.select(kept))
    assert len(kept) < len(analysis.conditions.column_names)
    page = render(build(old))
    assert "All conditions" in page
    assert "Do annotators back the gold label?" not in page


def test_groups_are_split_by_who_backs_the_gold_label(tmp_path: Path) -> None:
    # 40 posts, gold 0: settled are (3, 0) backed and (0, 3) rejected, contested (2, 1) backed and (1, 2) rejected.
    page = report(tmp_path, study=study_spec(**TWEETS, **FULL), data=tweets(40))
    section = re.search(r'<section id="backing".*?</section>', page, re.DOTALL)
    assert section is not None
    text = " ".join(Reader(section[0]).text.split())
    assert (
        "Settled means that annotators agree with each other, not that they agree with the gold label."
        in text
    )
    cells = re.findall(r'data-label="(backed|rejected): examples"><div>(\d+)<', section[0])
    assert cells == [("backed", "10"), ("rejected", "10")] * 2


def test_a_phone_reads_tables_row_by_row(plain: str) -> None:
    """Every cell of a table names its column, for there is no room for columns."""
    page = Reader(plain)
    labels = [attrs.get("data-label") for tag, attrs in page.elements if tag == "td"][1:]
    assert len(labels) > 20  # the first is the empty corner of the table of conditions
    assert all(labels)
    assert ".scroll td::before { content: attr(data-label)" in plain


def test_a_reason_stands_where_a_number_or_its_interval_would(tmp_path: Path) -> None:
    # 40 pairs of 10 premises: ten clusters, too few for an interval.
    text = " ".join(Reader(report(tmp_path / "few", study=study_spec(**FULL), n=40)).text.split())
    assert "examples that share their premise are drawn together (10 clusters among 40 examples" in text
    table = text[text.index("All conditions Correlations") : text.index("Each condition Beside")]
    assert table.count("10 clusters") == 4  # rho, partial rho twice, rho of the slope
    assert "No interval is given for the one condition, and nothing is decided there:" in text
    # Everybody agrees on every item: entropy is 0 throughout, and rho is not defined.
    alike = AnnotatedDataset(
        "tw",
        ("0", "1", "2"),
        tuple(Example(f"tw-{i}", {"text": f"Post {i}."}, 0, (3.0, 0.0, 0.0)) for i in range(30)),
    )
    page = report(tmp_path / "alike", study=study_spec(**TWEETS, **FULL), data=alike)
    reasons = re.findall(r'<span class="small reason">(.*?)</span>', page)
    assert len(reasons) == 4
    assert all(reasons)
    assert f"undefined in every condition ({reasons[0]})." in page
