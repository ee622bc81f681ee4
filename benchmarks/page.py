"""Size of the page and the time that a browser takes for it: `python -m benchmarks.page`.

The study is synthetic: 10,000 items of 104 characters on average (as long as a pair of SNLI), with 100 annotators each,
under 4 conditions, 20 tracking points. Opening is counted from the start of the navigation to the drawn list; a filter,
a sort or a search from the change of the control to the drawn list, the slowest and the median of `--rounds` of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.chromium import CHROMIUM, Page, chromium
from benchmarks.whole_study import write_study
from dissensus.cli.output import say, table
from dissensus.config import StudySpec
from dissensus.report.page import write_report

METHODS = (
    {"name": "lora", "rank": 8, "learning_rate": 1e-3},
    {"name": "lora", "rank": 32, "learning_rate": 1e-3},
    {"name": "full", "learning_rate": 5e-5},
    {"name": "ia3", "learning_rate": 5e-3},
)
CHANGES = {
    "search": [("q", "99th"), ("q", "thing 12"), ("q", "seen"), ("q", "nothing like it"), ("q", "")],
    "filter": [
        ("group", "contested"),
        ("group", ""),
        ("label", "neutral"),
        ("label", ""),
        ("kind", "contested"),
        ("kind", ""),
        ("condition", "2"),
        ("condition", "-1"),
    ],
    "sort": [("order", name) for name in ("aulc", "entropy", "delta", "variability", "kind")],
}
"""What is timed -> the control that is changed, and its new value."""


def study() -> StudySpec:
    """One data set, one model, four methods."""
    dataset = {
        "name": "items",
        "tracked": {"source": "simulated"},
        "train": {"source": "simulated", "seed": 1},
    }
    return StudySpec.parse(
        {"name": "page", "models": [{"name": "minilm-l6"}], "datasets": [dataset], "methods": list(METHODS)},
        "the benchmark's study",
    )


def change_ms(page: Page, control: str, value: str) -> float:
    """Milliseconds from the change of a control to the drawn list."""
    return float(
        page.evaluate(f"""(() => {{
          const control = document.getElementById("f-{control}");
          control.value = {json.dumps(value)};
          const began = performance.now();
          control.dispatchEvent(new Event(control.tagName === "INPUT" ? "input" : "change"));
          document.getElementById("list").getBoundingClientRect();
          return performance.now() - began;
        }})()""")
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder that keeps the study and its page")
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.error("there is no Chromium here")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "study"
        write_study(folder, items=options.items, spec=study(), longer=" Somebody looks at it, and says so.")
        began = time.perf_counter()
        path = write_report(folder)
        rows = [("written and analysed", f"{time.perf_counter() - began:.1f} s", "")]
        rows.append(("size", f"{path.stat().st_size / 2**20:.2f} MiB", ""))
        with chromium(Path(scratch)) as page:
            page.size(1280, 800)
            opened = []
            for _ in range(options.rounds):
                page.open(path)
                opened.append(
                    page.evaluate(
                        "performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart"
                    )
                )
            rows.append(("opened", f"{statistics.median(opened):.0f} ms", f"{max(opened):.0f} ms"))
            for name, changes in CHANGES.items():
                took = [change_ms(page, *change) for _ in range(options.rounds) for change in changes]
                rows.append((name, f"{statistics.median(took):.0f} ms", f"{max(took):.0f} ms"))
            assert page.console == [], page.console
    say(f"{options.items:,} items x {len(METHODS)} conditions")
    table(["", "median", "slowest"], rows)


if __name__ == "__main__":
    main()
