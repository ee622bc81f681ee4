"""Exchange with other tools: their recordings become curves, and curves become the formats they read. No torch.

In: `read_cartography` and `read_aum` give an `Imported`, which `write_store` makes a curves store of. Out:
`example_table` and what it becomes (`to_pandas`, `to_polars`, `to_datasets`), `to_xarray` and back
(`from_xarray`), and `add_to_datalab`. The libraries on the other side are the extra `exchange` (Datalab: `cleanlab`),
loaded by the function that needs them.
"""

from dissensus.exchange.annotations import read_annotations
from dissensus.exchange.arrays import from_xarray, to_xarray
from dissensus.exchange.aum import read_aum
from dissensus.exchange.cartography import read_cartography
from dissensus.exchange.datalab import add_to_datalab
from dissensus.exchange.frames import example_table, to_datasets, to_pandas, to_polars
from dissensus.exchange.imported import Imported, write_store

__all__ = [
    "Imported",
    "add_to_datalab",
    "example_table",
    "from_xarray",
    "read_annotations",
    "read_aum",
    "read_cartography",
    "to_datasets",
    "to_pandas",
    "to_polars",
    "to_xarray",
    "write_store",
]
