"""`assaymark demo`: made-up data with a known answer, audited the way real data is."""

from assaymark.demo.run import run_demo

__all__ = ["run_demo"]
