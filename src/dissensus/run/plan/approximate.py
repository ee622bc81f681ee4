"""Sizes and tokens of a cell where its model, or its training pool, is not on this machine. Runs in a worker.

A model that is not here has its tokens counted with the tokenizer of a built-in model that is: MiniLM-L6's WordPiece
for encoders, SmolLM2's for decoder-only models. Of a training pool that is not here the specification says how many
examples are drawn; they are taken to be as long as the tracked ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from dissensus.config import ModelSpec, RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import stratified_sample
from dissensus.data.sources import load_source
from dissensus.errors import DataError, DissensusError, ModelError
from dissensus.models.encoding import Encoded, answer_template, encode, plain_template
from dissensus.models.registry import BUILTIN
from dissensus.models.resolve import resolve_model
from dissensus.run.plan.calibration import assembled, count_tokens, sizes_of
from dissensus.run.plan.presence import refuse_missing

STAND_INS = {"encoder": "minilm-l6", "decoder": "smollm2-135m"}
"""Whose tokenizer counts for a model that is not here."""


def approximate(cell: RunSpec, data_dir: Path | None) -> Mapping[str, Any]:
    """`data`, `tokens`, and what stands for what: `tokenizer` and `train`, "" where nothing had to.

    Raises:
        ModelError: the model is not built in, or no tokenizer is here.
        DataError: the tracked set is not here, or nothing says how many training examples there are.
    """
    card = BUILTIN.get(cell.model.name)
    if card is None:
        raise ModelError(
            f"the size of model {cell.model.name!r} is known for built-in models alone; measure where it is, and give "
            "that plan with --calibration"
        )
    tracked, train, number, lacking = _data(cell, data_dir)
    own = _is_here(cell.model)
    name = cell.model.name if own else STAND_INS[card.kind]
    if not own and not _is_here(ModelSpec(name=name)):
        raise ModelError(
            f"neither model {cell.model.name!r} nor {name!r}, whose tokenizer could count for it, is on this machine; "
            f"`dissensus models pull {name}` fetches the second"
        )
    reads = _reader(cell, _tokenizer(name), tracked, card.kind)
    return {
        "data": asdict(sizes_of(tracked, number)),
        "tokens": asdict(count_tokens(tracked, train, reads)),
        "tokenizer": "" if own else name,
        "train": lacking,
    }


def _data(cell: RunSpec, data_dir: Path | None) -> tuple[AnnotatedDataset, AnnotatedDataset, int, str]:
    """The tracked set, what stands for the training set, its size, and why something had to."""
    try:
        data = assembled(cell, data_dir)
        return data.tracked, data.train, len(data.train), ""
    except DataError as error:
        spec = cell.dataset
        tracked = load_source(spec.tracked, data_dir=data_dir)
        if spec.tracked_size is not None:
            tracked = stratified_sample(tracked, spec.tracked_size)
        if spec.train_size is None:
            raise
        number = spec.train_size + (len(tracked) if cell.regime == "trained_on" else 0)
        return tracked, tracked, number, str(error).partition(". ")[0]


def _reader(
    cell: RunSpec, tokenizer: Any, tracked: AnnotatedDataset, kind: str
) -> Callable[[AnnotatedDataset], Encoded]:
    template = None
    if kind == "decoder":
        words = cell.model.label_words or tracked.labels
        verbal = cell.model.head == "verbalizer"
        default = answer_template(tracked.fields, words) if verbal else plain_template(tracked.fields)
        template = cell.model.prompt or default

    def read(dataset: AnnotatedDataset) -> Encoded:
        return encode(dataset, tokenizer, max_length=cell.model.max_length, template=template)

    return read


def _is_here(model: ModelSpec) -> bool:
    try:
        refuse_missing(model)
    except DissensusError:
        return False
    return True


@cache
def _tokenizer(name: str) -> Any:
    import transformers

    found = resolve_model(name)
    gguf = {"gguf_file": found.gguf_file} if found.gguf_file else {}
    transformers.logging.set_verbosity_error()
    return transformers.AutoTokenizer.from_pretrained(found.location, trust_remote_code=False, **gguf)
