"""The curves store: the only bridge between training and analysis. Imports no torch.

Layout (schema 3), written by `CurvesWriter`, read by `load_curves` and, a block at a time, by `open_curves`:

    examples.parquet               one row per tracked example, in tracking order:
                                   id, gold (index, -1 none), counts (list), entropy (bits), regime,
                                   text (JSON object of the fields), then covariates, one column each
    curves/step-00000123.parquet   a tracking point, immutable, its rows those of examples.parquet: float32 columns
                                   log_prob_0, log_prob_1, ... in the labels' order (NaN: not scored), then the further
                                   values, one float32 column each, and on request token_losses (a float32 list per row,
                                   nats)
    curves/step-00000123.part-02-of-08.parquet   the same where several processes wrote it: each some consecutive rows
    manifest.json                  schema, labels, total_steps, complete, timing (seconds, when complete),
                                   values (names of the further columns), tracked_fingerprint,
                                   shards (step, rows, and of each of its parts file, begin, end, sha256),
                                   provenance (fingerprints, versions, free facts of the run; of a study's cell also
                                   data_notes, model_notes and model_loading: sentences, a list of each)

Row groups have 65,536 rows in every file. Schemas 1 and 2 were written before the first release and are refused in
words.

Every file appears whole or not at all (written beside, flushed, renamed). The manifest is the authority: a
shard that it does not list does not exist. Losses, margins and soft losses are derived, never stored.
"""

from dissensus.store.examples import ExampleColumns
from dissensus.store.manifest import is_store
from dissensus.store.parts import PartWriter
from dissensus.store.reading import StoredCurves, load_curves, load_token_losses, open_curves
from dissensus.store.writing import CurvesWriter

__all__ = [
    "CurvesWriter",
    "ExampleColumns",
    "PartWriter",
    "StoredCurves",
    "is_store",
    "load_curves",
    "load_token_losses",
    "open_curves",
]
