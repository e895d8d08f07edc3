"""Formats: how the rows of each kind of file are read, in bounded memory, with stable row numbers.

Nothing here knows concepts or audits; `data.dataset` names the columns, `data.scan` runs the pass.
"""
