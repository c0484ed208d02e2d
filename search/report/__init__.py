"""The report: from run folders to one HTML file that needs no other file."""

from search.report.document import document
from search.report.page import REPORT_FILE, write_report, write_run_report

__all__ = ["REPORT_FILE", "document", "write_report", "write_run_report"]
