"""Stores as earlier versions wrote them: one file a point, with the ids and one column of lists."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.files import file_sha256
from dissensus.store import load_curves


def as_schema(folder: Path, schema: int) -> None:
    """Rewrite a store of the present schema as one of schema 1 or 2, its files included."""
    curves = load_curves(folder, partial=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    shards = []
    for t, shard in enumerate(manifest["shards"]):
        for part in shard["parts"]:
            (folder / part["file"]).unlink()
        name = f"curves/step-{shard['step']:08d}.parquet"
        flat = pa.array(curves.log_probs[:, t].ravel())
        table = {
            "id": pa.array(curves.ids),
            "log_probs": pa.FixedSizeListArray.from_arrays(flat, len(curves.labels)),
            **{key: pa.array(own[:, t]) for key, own in curves.values.items()},
        }
        pq.write_table(pa.table(table), folder / name, compression="zstd")
        shards.append(
            {
                "step": shard["step"],
                "file": name,
                "rows": len(curves),
                "sha256": file_sha256(folder / name),
            }
        )
    manifest |= {"schema": schema, "shards": shards}
    if schema == 1:
        del manifest["values"], manifest["token_losses"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
