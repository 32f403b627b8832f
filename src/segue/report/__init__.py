"""The report: one self-contained page that says what a run is worth, and shows the evidence."""

from segue.report.page import write_report

__all__ = ["write_report"]
