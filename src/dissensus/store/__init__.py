"""The curves store: the only bridge between training and analysis. Imports no torch.

Layout (schema 2), written by `CurvesWriter`, read by `load_curves`:

    examples.parquet               one row a tracked example, in tracking order:
                                   id, gold (index, -1 none), counts (list), entropy (bits), regime,
                                   text (JSON object of the fields), then covariates, one column each
    curves/step-00000123.parquet   one immutable shard a tracking point: id, log_probs (K float32 a row; NaN: not
                                   scored), then the further values, one float32 column each, and on request
                                   token_losses (a float32 list a row, nats)
    manifest.json                  schema, labels, total_steps, complete, timing (seconds, when complete),
                                   values (names of the further columns),
                                   shards (step, file, rows, sha256), provenance (fingerprints, versions, free
                                   facts of the run)

Schema 1, of before the first release, had log_probs alone: it is read as a store without further values.

Every file appears whole or not at all (written beside, flushed, renamed). The manifest is the authority: a
shard that it does not list does not exist. Losses, margins and soft losses are derived, never stored.
"""

from dissensus.store.reading import load_curves, load_token_losses
from dissensus.store.writing import CurvesWriter

__all__ = ["CurvesWriter", "load_curves", "load_token_losses"]
