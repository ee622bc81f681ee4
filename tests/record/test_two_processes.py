"""Two real processes of a run: one reference of a preference margin, one way to read a model, one error for both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dissensus import load_curves
from processes import PATIENCE

PROGRAM = """
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from dissensus import CurveRecorder
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.data.sources.simulated import load
from dissensus.models import scoring
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.scored_tokens import ScoredTokens
from dissensus.store import files, parts
from dissensus.record.user_model import UserModelSet

rank, folder, decoder, encoder = int(sys.argv[1]), *map(Path, sys.argv[2:])
files.ROW_GROUP = parts.ROW_GROUP = 4
parts.SPLIT_FROM = 1  # the second process writes the second half of each point
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
tokenizer, tracked = AutoTokenizer.from_pretrained(decoder), load(SimulatedSource(size=8))
rows = [
    {"id": e.id, "prompt": e.text["premise"], "chosen": e.text["hypothesis"], "rejected": "no", "votes": (3, 1)}
    for e in tracked
]
said = {}


def model_at(step):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(decoder)
    for _ in range(step):
        trained(model)
    return model


def trained(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def probe(reference=None, beta=None):
    return PreferenceProbe.from_texts(
        PreferenceProbe.pairs(rows), tokenizer, how="dpo", reference=reference, beta=beta
    )


def run(name, asked, begin=0, end=4, resume=False, back=None):
    model = model_at(begin)
    recorder = CurveRecorder(folder / name, asked, total_steps=4, points=5, resume=resume, quiet=True)
    step = begin
    while True:
        recorder.step(model, step)
        if step == end:
            break
        if back is not None and step == back[0]:
            step, back = max(0, back[1]), recorder.rewind(back[1])
            model = model_at(step)
            continue
        trained(model)
        step += 1
    recorder.flush() if end < 4 else recorder.finish()


for kind in ("start", "other"):
    other = (lambda: model_at(7)) if kind == "other" else (lambda: None)
    run(f"{kind}-whole", probe(other()))
    run(f"{kind}-resumed", probe(other()), end=2)
    run(f"{kind}-resumed", probe(other()), begin=2, resume=True)
    run(f"{kind}-rewound", probe(other()), back=(3, 1))
    same = probe(other())
    run(f"{kind}-anew", same, back=(3, -1))
    run(f"{kind}-again", same)  # one probe, two recordings


def tried(name, asked, model, **options):
    recorder = CurveRecorder(folder / name, asked, total_steps=4, points=5, quiet=True, **options)
    try:
        recorder.step(model, 0)
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
    else:
        said[name] = recorder._measurer._tracked.way
    return recorder


def failing(kind, name, error):
    own = getattr(kind, name)

    def fails(*_, **__):
        raise error

    if rank == 1:
        setattr(kind, name, fails)
    return lambda: setattr(kind, name, own)


def classifier(**config):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3, **config)


tried("beta", probe(beta=0.1 + rank / 10), model_at(0))
for name, kind, method, error in (
    ("lean-raises", ScoredTokens, "_agrees", KeyError("broken")),
    ("lean-differs", ScoredTokens, "_agrees", ValueError("built otherwise")),
    ("lean-memory", ScoredTokens, "_apart", torch.OutOfMemoryError("CUDA out of memory")),
    ("meets", ScoredTokens, "_refuse_other_kind", KeyError("broken")),
):
    restore = failing(kind, method, error)
    tried(name, probe(), model_at(0))
    restore()
texts = AutoTokenizer.from_pretrained(encoder)
for name, kind, method, error in (
    ("packed-raises", UserModelSet, "_agrees", KeyError("broken")),
    ("packed-memory", UserModelSet, "_plain_logits", MemoryError()),
):
    restore = failing(kind, method, error)
    tried(name, tracked, classifier(), tokenizer=texts)
    restore()
own = scoring.scoring_view
if rank == 1:
    scoring.scoring_view = lambda *_: None
tried("packed-view", tracked, classifier(), tokenizer=texts)
scoring.scoring_view = own
names = list(reversed(tracked.labels)) if rank == 1 else tracked.labels
tried("labels", tracked, classifier(id2label=dict(enumerate(names))), tokenizer=texts)
(folder / f"said-{rank}.json").write_text(json.dumps(said))
dist.destroy_process_group()
"""

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo",
)


@pytest.fixture(scope="module")
def done(
    tiny_encoder_dir: Path, tiny_decoder_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, str]]]:
    """The folder in which both processes have run everything, and what each said of the recordings that ask a way."""
    folder = tmp_path_factory.mktemp("two")
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback, "HF_HUB_OFFLINE": "1"}
    paths = map(str, (folder, tiny_decoder_dir, tiny_encoder_dir))
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    arguments = list(paths)
    running = [
        subprocess.Popen(
            [*command, str(rank), *arguments],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for process in running:
            said, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, said[-4000:]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return folder, [json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("kind", ["start", "other"])
@pytest.mark.parametrize("how", ["resumed", "rewound", "anew", "again"])
def test_every_process_compares_with_the_same_reference(
    done: tuple[Path, list[dict[str, str]]], kind: str, how: str
) -> None:
    """Resumed after step 2, put back from 3 to 1, begun anew, or with a probe that was used before: the same curves.

    Each process writes four of the eight pairs, with the margin that it computed.
    """
    folder, _ = done
    whole, found = (load_curves(folder / f"{kind}-{name}") for name in ("whole", how))
    assert len(list((folder / f"{kind}-{how}" / "curves").glob("*.part-01-of-02.parquet"))) == 5
    if kind == "start":
        np.testing.assert_array_equal(whole.values["margin"][:, 0], 0)
    assert np.abs(whole.values["margin"][:, 1:]).min() > 1e-3
    # The reference is read back from float32 sums of some tens of nats, which are exact to about 1e-5.
    np.testing.assert_allclose(found.values["margin"], whole.values["margin"], atol=1e-5)
    np.testing.assert_allclose(found.log_probs, whole.log_probs, atol=1e-5)


def test_processes_that_ask_different_things_are_refused_in_words(
    done: tuple[Path, list[dict[str, str]]],
) -> None:
    for said in done[1]:
        assert said["beta"].startswith(
            "SpecError: the processes of this run do not track the same: beta is 0.2 in process 1, and 0.1 in the first"
        )


@pytest.mark.parametrize("name", ["lean-raises", "meets", "packed-raises"])
def test_what_one_process_raises_on_the_way_is_raised_in_both(
    done: tuple[Path, list[dict[str, str]]], name: str
) -> None:
    first, second = (said[name] for said in done[1])
    assert second == "KeyError: 'broken'"
    assert first == "RuntimeError: KeyError in process 1: 'broken'"


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("lean-differs", *["whole: body and head apart give other numbers than the model's own forward pass"] * 2),
        ("lean-memory", *["whole: not enough memory to compare it with the model's own forward pass"] * 2),
        ("packed-memory", *["padded: not enough memory to compare it with the model's own forward pass"] * 2),
        (
            "packed-view",
            "padded: packed rows and the model's own forward pass disagree",
            "padded: not a sequence classifier of transformers' own that packs",
        ),
    ],
)  # fmt: skip
def test_one_process_that_leaves_the_quick_way_takes_the_other_along(
    done: tuple[Path, list[dict[str, str]]], name: str, first: str, second: str
) -> None:
    assert [said[name] for said in done[1]] == [first, second]


def test_labels_in_another_order_in_one_process_are_refused_in_both(
    done: tuple[Path, list[dict[str, str]]],
) -> None:
    says: Any = [said["labels"] for said in done[1]]
    assert all(said.startswith("DataError: the data set's labels are") for said in says)
