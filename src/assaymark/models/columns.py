"""`column:a,b` - scores that are already in the table stand in for a model."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from assaymark.errors import ModelError
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["ColumnScores"]


class ColumnScores:
    """Precomputed scores, one column a label.

    Options: `labels=a,b` names the labels when the columns have other names; `multi_label=false` says that the columns of a
    row sum to 1 (default: each column on its own).
    """

    def __init__(self, spec: ModelSpec, loading: Loading | None = None) -> None:
        spec.check_options(("labels", "multi_label"))
        self.spec = spec.text
        self.columns = tuple(name.strip() for name in spec.target.split(","))
        self.labels = spec.names("labels") or self.columns
        self.multi_label = spec.flag("multi_label", True)
        if not all(self.columns) or len(set(self.columns)) < len(self.columns):
            raise ModelError(f"model {spec.text}: column names must be given, and each once")
        if len(self.labels) != len(self.columns):
            raise ModelError(f"model {spec.text}: {len(self.columns)} columns but {len(self.labels)} labels")
        identity = repr(("column", self.columns, self.labels, self.multi_label))
        self.fingerprint = blake2b(identity.encode(), digest_size=16).hexdigest()
