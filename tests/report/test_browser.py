"""The page in a real browser: searched, sorted, filtered, opened, ticked, exported, printed, with a silent console."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chromium import CHROMIUM, Page, chromium
from dissensus.data.annotation_tasks import AnnotationTask
from dissensus.exchange.annotation_tools import argilla, label_studio, prodigy
from dissensus.report.page import write_report
from dissensus.report.recording import save_page
from synthetic_curves import balanced, curves_of
from synthetic_study import LABELS, dataset, study_spec, write_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

N = 60
HOSTILE = {
    3: "<img src=x onerror=alert(1)></script><script>alert(2)</script>",
    7: "\u202eright to left שלום 👩‍👩‍👧‍👦 \u2028 \x1b[31mred",
    11: "=SUM(A1) needle, with a comma",
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    data = dataset(N, text=lambda i: HOSTILE.get(i, f"Somebody does thing {i}."))
    write_study(folder / "study", study_spec(regimes=["held_out", "trained_on"]), data=data)
    write_report(folder / "study")
    with chromium(folder) as page:
        page.size(1280, 800)
        yield page, folder


@pytest.fixture
def page(tab: tuple[Page, Path]) -> Iterator[Page]:
    page, folder = tab
    page.console.clear()
    page.open(folder / "study" / "report.html")
    yield page
    assert page.console == []
    assert page.requests == []


def listed(page: Page) -> list[str]:
    """Ids of the rows in sight, from the top."""
    rows = page.evaluate(
        "[...document.querySelectorAll('.item-row:not([hidden])')].map((row) => [row.at, "
        "row.querySelector('.c-text .small bdi').textContent])"
    )
    return [item for _, item in sorted(rows)]


def choose(page: Page, control: str, value: str) -> None:
    """Set a control as a person does."""
    page.evaluate(
        f"(() => {{ const control = document.getElementById('f-{control}'); control.value = {json.dumps(value)}; "
        "control.dispatchEvent(new Event(control.tagName === 'INPUT' ? 'input' : 'change', {bubbles: true})); })()"
    )


def count(page: Page) -> str:
    return str(page.evaluate("document.getElementById('list-count').textContent"))


def test_every_item_is_listed_and_only_the_rows_in_sight_exist(page: Page) -> None:
    assert count(page) == f"{N} of {N} items"
    assert page.evaluate("document.querySelectorAll('.item-row').length") < N
    choose(page, "order", "data")
    assert listed(page)[:2] == ["item-00000", "item-00001"]
    page.evaluate("document.getElementById('list').scrollTop = 1e6")
    assert page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done("
        "[...document.querySelectorAll('.item-row:not([hidden])')].some((row) => row.at === 59)))))"
    )


def test_search_filter_and_sort(page: Page) -> None:
    choose(page, "q", "needle SUM")
    assert listed(page) == ["item-00011"]
    choose(page, "q", "")
    choose(page, "group", "settled")
    settled = count(page)
    assert settled not in (f"{N} of {N} items", f"0 of {N} items")
    page.evaluate("document.getElementById('clear').click()")
    assert count(page) == f"{N} of {N} items"
    choose(page, "order", "entropy")
    # Votes run from unanimous to 40, 30, 30: the last items that split three ways have the most entropy.
    assert listed(page)[0] == "item-00059"
    choose(page, "label", "neutral")
    assert count(page) == f"0 of {N} items"
    assert not page.evaluate("document.getElementById('list-empty').hidden")


def test_two_conditions_are_compared(page: Page) -> None:
    assert page.evaluate("document.getElementById('plot-apart').closest('figure').hidden")
    choose(page, "condition", "0")
    choose(page, "against", "1")
    assert "against" in page.evaluate("document.querySelector('.c-curve .small').textContent")
    assert (
        page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done("
            "document.getElementById('plot-apart').closest('figure').hidden))))"
        )
        is False
    )


def test_keys_open_and_tick_items(page: Page) -> None:
    choose(page, "order", "data")
    page.key("/")
    assert page.evaluate("document.activeElement.id") == "f-q"
    page.key("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    for _ in range(4):
        page.key("ArrowDown")
    page.key("Enter")
    assert (
        page.evaluate("document.querySelectorAll('#item .item-curve').length") == 4
    )  # two methods, two regimes
    # The fourth item is markup, and it shows as text.
    assert HOSTILE[3] in page.evaluate("document.getElementById('item-body').textContent")
    assert page.evaluate("document.querySelectorAll('#item img, #item script').length") == 0
    page.key("x")
    assert count(page) == f"{N} of {N} items, 1 ticked"
    assert page.evaluate("document.getElementById('item-tick').textContent") == "Untick"
    page.key("Escape")
    assert page.evaluate("document.getElementById('item').hidden")
    choose(page, "only", "ticked")
    assert listed(page) == ["item-00003"]


def test_a_point_opens_its_item(page: Page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    # The item of the highest AULC is the highest point of the plot: look for it from above.
    page.evaluate("""(() => {
      const canvas = document.getElementById("plot-entropy"), box = canvas.getBoundingClientRect();
      for (let y = 0; y < box.height; y += 6) for (let x = 50; x < box.width; x += 6) {
        if (!document.getElementById("item").hidden) return;
        canvas.dispatchEvent(new MouseEvent("click", {clientX: box.left + x, clientY: box.top + y, bubbles: true}));
      }
    })()""")
    opened = page.evaluate("document.querySelector('#item-body .id').textContent")
    choose(page, "order", "aulc")
    assert opened in listed(page)[:3]


def test_control_characters_and_reading_direction_stay_in_their_item(page: Page) -> None:
    choose(page, "q", "שלום")
    page.evaluate("document.querySelector('.item-row:not([hidden])').click()")
    text = page.evaluate("[...document.querySelectorAll('#item .riser-text bdi')].pop().textContent")
    assert text == HOSTILE[7].replace("\x1b", "\ufffd")
    assert page.evaluate("document.querySelector('#item .riser-text bdi').dir") == "auto"


def exported(page: Page, folder: Path, form: str) -> str:
    """The text of the file that an export leaves."""
    names = {"csv": "csv", "jsonl": "jsonl", "label-studio": "json", "argilla": "json", "prodigy": "jsonl"}
    path = folder / "downloads" / f"items-{form}.{names[form]}"
    path.unlink(missing_ok=True)
    choose(page, "form", form)
    before = page.finished
    page.evaluate("document.getElementById('export').click()")
    page.wait_for_download(before)
    return path.read_bytes().decode("utf-8")


def test_ticked_items_are_exported_under_the_names_of_the_annotation_tools(
    page: Page, tab: tuple[Page, Path]
) -> None:
    for word in ("item-00011", "item-00050"):
        choose(page, "q", word)
        page.evaluate("document.querySelector('.item-row:not([hidden]) input').click()")
    choose(page, "q", "")
    data = dataset(N, text=lambda i: HOSTILE.get(i, f"Somebody does thing {i}."))
    own = [example for example in data.examples if example.id in ("item-00011", "item-00050")]
    line, *_ = exported(page, tab[1], "jsonl").splitlines()
    assert json.loads(line)["counts"] == list(own[0].counts)
    assert len(json.loads(line)["conditions"]) == 4
    studio = json.loads(exported(page, tab[1], "label-studio"))
    tasks = [
        AnnotationTask(
            e.id,
            e.text,
            LABELS,
            tuple(e.counts),
            LABELS[e.gold],
            one["data"]["entropy"],
            0.0,
            one["data"]["why"],
        )
        for e, one in zip(own, studio, strict=True)
    ]
    assert studio == json.loads(label_studio(tasks))
    assert json.loads(exported(page, tab[1], "argilla")) == json.loads(argilla(tasks))
    assert [json.loads(row) for row in exported(page, tab[1], "prodigy").splitlines()] == [
        json.loads(row) for row in prodigy(tasks).splitlines()
    ]
    rows = list(csv.DictReader(io.StringIO(exported(page, tab[1], "csv").removeprefix("\ufeff"))))
    assert [row["item_id"] for row in rows] == ["item-00011", "item-00050"]
    assert rows[0]["hypothesis"] == "'" + HOSTILE[11]  # no spreadsheet runs it
    assert list(rows[0])[:5] == ["item_id", "premise", "hypothesis", "annotator", "annotation"]


def test_print_opens_every_part_and_closes_it_again(page: Page) -> None:
    closed = page.evaluate("document.querySelectorAll('details:not([open])').length")
    assert closed > 2
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert page.evaluate("document.querySelectorAll('#printed tbody tr').length") == N
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == closed
    assert len(page.call("Page.printToPDF")["data"]) > 10_000


def test_links_and_tiles_lead_into_the_list(page: Page) -> None:
    tiles = page.evaluate(
        "[...document.querySelectorAll('.tiles a')].map((tile) => [tile.dataset.kind, "
        "tile.querySelector('strong').textContent])"
    )
    assert tiles
    for kind, items in tiles:
        page.evaluate(f"document.querySelector('.tiles a[data-kind={kind}]').click()")
        assert page.evaluate("document.getElementById('f-kind').value") == kind
        assert count(page).startswith(f"{items} of")
    page.evaluate("document.querySelector('a[href=\"#definitions\"]').click()")
    assert page.evaluate(
        "new Promise((done) => setTimeout(() => done(document.querySelector('#definitions details').open)))"
    )


def test_a_phone_reads_the_page_without_sideways_scrolling(page: Page) -> None:
    page.size(390, 844)
    try:
        page.evaluate("document.querySelector('.item-row:not([hidden])').click()")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        page.size(1280, 800)


def test_a_recording_without_texts_and_votes_has_the_same_browser(tab: tuple[Page, Path]) -> None:
    page, folder = tab
    page.console.clear()
    curves = balanced(curves_of(40))
    curves = type(curves)(**{**curves.__dict__, "text": (), "counts": np.zeros_like(curves.counts)})
    page.open(save_page(curves, folder / "bare.html"))
    assert count(page) == "40 of 40 items"
    assert page.evaluate("document.getElementById('f-group').closest('label').hidden")
    page.evaluate("document.querySelector('.item-row:not([hidden])').click()")
    assert "No annotations." in page.evaluate("document.getElementById('item-body').textContent")
    assert page.console == []
