"""No mapping of anything crosses a module's edge: public signatures and fields carry frozen classes instead.

What may stay is listed here with its reason, which docs/design/layers.md gives at length.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import dissensus

OPEN = re.compile(r"(Mapping|dict|Dict)\[str, (Any|object)\]")
SOURCE = Path(dissensus.__file__).parent

FREE = {
    "a user's settings, merged before they are parsed": (
        "config.study.Override.set",
        "config.study.ExecutionRule.set",
        "config.study.VariantSpec.set",
        "data.sniff.NamedKeys.keys",
        "data.sources.table.recognise",
        "data.sources.columns.conventional_columns",
        "study.grid.merge",
        "study.rates.ShortRun.settings",
    ),
    "provenance: whoever records a run notes what they like; `store.run_facts` reads our own notes": (
        "curves.Curves.provenance",
        "store.manifest.StoreManifest.provenance",
        "store.run_facts.RunFacts.of",
        "store.writing.CurvesWriter.__init__",
        "store.writing.CurvesWriter.note",
        "store.writing.CurvesWriter.provenance",
        "record.free.FreeRecorder.__init__",
        "record.probes.base.Probe.facts",
        "record.probes.completions.CompletionProbe.facts",
        "record.probes.labels.LabelProbe.facts",
        "record.probes.labels.LabelProbe.of_cell",
        "record.probes.preferences.PreferenceProbe.facts",
    ),
    "records and messages of other people's data, read where they come in": (
        "data.annotations.AnnotatedDataset.from_records",
        "data.annotations.Example.chat",
        "data.conversations.Messages",
        "data.conversations.chat_of",
        "data.sources.base.FileSample.document",
        "data.sources.reading.Record.values",
        "data.sources.reading.absent",
        "data.sources.reading.each_key_once",
        "data.sources.reading.field_at",
        "data.sources.table.hub_table",
        "integrations.outputs.refuse_packed",
        "record.probes.completions.CompletionProbe.from_texts",
        "record.probes.completions.CompletionProbe.from_tokens",
        "record.probes.pairs.pairs_of",
        "record.probes.preferences.PreferenceProbe.from_texts",
        "record.probes.preferences.PreferenceProbe.from_tokens",
        "record.probes.preferences.PreferenceProbe.pairs",
        "record.probes.sequences.Asked.chat",
        "record.probes.sequences.Text",
        "record.probes.sequences.chat_arguments",
        "record.probes.sequences.from_texts",
        "record.probes.sequences.from_tokens",
        "record.probes.sequences.joined",
    ),
    "a JSON document, where it is made or read": (
        "analysis.claims.tables.claims_from_json",
        "analysis.claims.tables.claims_json",
        "analysis.rates.tables.rates_json",
        "analysis.settling.tables.settling_json",
        "analysis.tables.Inputs.to_json",
        "run.plan.plan.StudyPlan.to_json",
        "study.status.CellStatus.to_json",
    ),
    "columns of a table's row on their way to Arrow; nobody reads them by name (`analysis.rows` reads tables)": (
        "analysis.cell_tables.CellTables.cell",
        "analysis.cell_tables.learned_columns",
        "analysis.correlations.correlation_columns",
        "analysis.group_tables.curve_rows",
        "analysis.group_tables.group_columns",
        "analysis.group_tables.side_columns",
        "analysis.noise.groups.NoisyCell.identity",
        "analysis.rates.tables.rate_rows",
    ),
    "another library's keywords": (
        "integrations.free.FreeCallback.on_save",
        "integrations.free.FreeCallback.on_step_end",
        "integrations.free.FreeCallback.on_train_begin",
        "integrations.free.FreeCallback.on_train_end",
        "integrations.lightning.CurveCallback.on_save_checkpoint",
        "integrations.transformers.CurveCallback.on_epoch_end",
        "integrations.transformers.CurveCallback.on_log",
        "integrations.transformers.CurveCallback.on_save",
        "integrations.transformers.CurveCallback.on_step_end",
        "integrations.transformers.CurveCallback.on_train_begin",
        "integrations.transformers.CurveCallback.on_train_end",
        "models.low_precision.quantized",
        "models.model_files.ModelFiles.changed",
        "models.model_files.ModelFiles.where",
        "models.model_files.build_model",
        "models.sharded.Whole.forward",
        "report.palette.DASHES",
        "store.files.write_parquet",
        "train.loop.parameter_groups",
    ),
    "options of `CurveRecorder` or `FreeRecorder`, handed on as they are": (
        "integrations.free.FreeCallback.__init__",
        "integrations.free.record_free",
        "integrations.lightning.CurveCallback.__init__",
        "integrations.transformers.CurveCallback.__init__",
        "integrations.transformers.record",
    ),
}


def open_mappings(source: str, module: str) -> set[str]:
    """Dotted names of what a module offers that takes, gives or holds a mapping from names to anything."""
    return set(_below(ast.parse(source).body, module))


def _below(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef) and _public(node.name):
            yield from _below(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _public(node.name):
            if _is_open(node):
                yield f"{prefix}.{node.name}"
        elif (
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _public(node.target.id)
        ):
            if OPEN.search(ast.unparse(node.annotation)):
                yield f"{prefix}.{node.target.id}"
        elif isinstance(node, ast.Assign) and OPEN.search(ast.unparse(node.value)):
            yield from (f"{prefix}.{t.id}" for t in node.targets if isinstance(t, ast.Name) and _public(t.id))


def _is_open(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    taken = function.args
    arguments = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
    annotations = [a.annotation for a in arguments] + [function.returns]
    if any(annotation is not None and OPEN.search(ast.unparse(annotation)) for annotation in annotations):
        return True
    rest = taken.kwarg
    # `**_` takes what a caller passes and looks at none of it.
    return (
        rest is not None
        and rest.arg != "_"
        and rest.annotation is not None
        and ast.unparse(rest.annotation) in ("Any", "object")
    )


def _public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def test_no_mapping_of_anything_crosses_a_modules_edge() -> None:
    there: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        there |= open_mappings(path.read_text(encoding="utf-8"), module)
    listed = {name for names in FREE.values() for name in names}
    assert sorted(there - listed) == []  # give it a frozen dataclass, read in one place
    assert sorted(listed - there) == []  # gone, so no exception any more


def test_the_check_sees_every_way_in() -> None:
    source = """
from typing import Any
Rows = list[dict[str, Any]]
KNOWN: dict[str, object] = {}
_hidden: dict[str, Any] = {}
def takes(row: Mapping[str, Any] | None) -> None: ...
def gives() -> tuple[dict[str, Any], int]: ...
def passes(**options: Any) -> None: ...
def ignores(**_: Any) -> None: ...
def typed(values: Mapping[str, float], **sizes: int) -> dict[str, str]: ...
def _own(row: dict[str, Any]) -> None: ...
class Kept:
    facts: Mapping[str, Any]
    def __init__(self, *, row: dict[str, Any]) -> None: ...
    def _own(self, row: dict[str, Any]) -> None: ...
"""
    expected = ("Rows", "KNOWN", "takes", "gives", "passes", "Kept.facts", "Kept.__init__")
    assert open_mappings(source, "m") == {f"m.{name}" for name in expected}
