"""The rooms. Each answers one question, has one floor plan, and is one line in `assaymark.catalog`."""
