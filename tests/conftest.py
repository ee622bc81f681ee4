"""Fixtures that every part's tests share: a small annotated data set, tiny models, real data if here."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dissensus.data.annotations import AnnotatedDataset
from processes import no_child_left

# No test may depend on a network by accident. Set before anything imports the hub's client, which reads it once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models gain nothing from threads, and threads that wait for a busy machine's cores lose a great deal.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Figures are drawn without a display.
os.environ.setdefault("MPLBACKEND", "agg")
# A shell starts background jobs with SIGINT ignored, which processes inherit: Ctrl-C could not be tested there.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_terminal.py",
    "engines/test_ray.py",
    "bench/test_suites.py",
    "run/test_processes.py",
    "run/test_launch.py",
    "run/test_fused_cells.py",
    "test_real_weights.py",
    "train/test_fused.py",
    "test_examples.py",
    "integrations/test_distributed.py",
    "integrations/test_free_trainer.py",
    "integrations/test_trainer.py",
    "report/test_page.py",
    "models/test_wrappers.py",
    "run/test_runner.py",
    "engines/test_slurm.py",
    "test_cli.py",
    "test_cli_rates.py",
    "plan/test_trial.py",
    "bench/test_analysis.py",
    "integrations/test_trainer_first_hour.py",
)
"""Modules that take longest, in this order: most of their tests start processes or train."""

# Counts of ten annotators over (entailment, neutral, contradiction), from unanimous to evenly split.
TINY_COUNTS = (
    (10, 0, 0),
    (9, 1, 0),
    (0, 8, 2),
    (1, 0, 9),
    (6, 4, 0),
    (2, 7, 1),
    (0, 5, 5),
    (4, 3, 3),
)
TINY_LABELS = ("entailment", "neutral", "contradiction")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first, whatever the (random) order of the others, so that none is left for the end."""
    place = {name: number for number, name in enumerate(LONGEST)}

    def when(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return min((place[name] for name in LONGEST if path.endswith(f"/{name}")), default=len(LONGEST))

    items.sort(key=when)


def pytest_collection_finish() -> None:
    """What was imported stays: the many explicit collections (trainers, benchmarks) need not walk it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    """The test that leaves a process behind fails, not a later one that meets it."""
    with no_child_left():
        yield


@pytest.fixture
def tiny_dataset() -> AnnotatedDataset:
    """24 pairs of differing lengths over three labels; gold is the majority, save for one pair in eight."""
    hypotheses = ("a bird sits", "the dog is very tired", "no apples", "it is not warm")
    places = ("the box is near the river", "a dog runs", "many apples were in the old garden before noon")
    records = []
    for number in range(24):
        counts = TINY_COUNTS[number % len(TINY_COUNTS)]
        majority = max(range(3), key=lambda label: counts[label])
        gold = (majority + 1) % 3 if number % 8 == 5 else majority
        records.append(
            {
                "id": f"tiny-{number:02d}",
                "premise": f"{places[number % 3]} and {('two', 'three', 'five')[number // 8]} birds sit",
                "hypothesis": hypotheses[number % 4],
                "gold": TINY_LABELS[gold],
                "counts": dict(zip(TINY_LABELS, counts, strict=True)),
            }
        )
    return AnnotatedDataset.from_records(
        records, labels=TINY_LABELS, text=("premise", "hypothesis"), name="tiny"
    )


@pytest.fixture(scope="session")
def tiny_encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random BERT and its WordPiece tokenizer. Read it; do not write into it."""
    return _tiny("bert", tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_decoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama and its byte-level tokenizer. Read it; do not write into it."""
    return _tiny("llama", tmp_path_factory)


def _tiny(arch: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Imported here: tests of the analysis side must be collectable without torch.
    from tiny import make_tiny

    return make_tiny(arch, tmp_path_factory.mktemp("models") / f"tiny-{arch}")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real, human-annotated corpora: DISSENSUS_DATA, or ../shared/data beside the checkout."""
    given = os.environ.get("DISSENSUS_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "chaosnli").is_dir():
        pytest.skip(f"no real data: {folder} has no chaosnli folder; DISSENSUS_DATA names where it is")
    return folder
