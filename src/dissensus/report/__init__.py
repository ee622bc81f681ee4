"""The report: one self-contained page, and the figures beside it. Reads stored curves; imports no torch."""

from dissensus.report.page import write_report

__all__ = ["write_report"]
