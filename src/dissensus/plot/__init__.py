"""Plots for a notebook or a paper: group curves, data map, entropy against AULC, one example, change by group.

Each is one call on `Curves`, a recording's folder, or a study's folder (then of one condition), takes `ax=` and
returns the axes::

    import dissensus
    dissensus.plot.curves("runs/quickstart", condition="lora")

Colours, line styles and definitions are the report's. Needs matplotlib, which comes with dissensus, and no torch.
"""

from dissensus.plot.drawing import curves, data_map, entropy_scatter, example, groups

__all__ = ["curves", "data_map", "entropy_scatter", "example", "groups"]
