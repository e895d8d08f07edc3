"""Models behind audits: capabilities (`protocols`), spec strings (`spec`), and one adapter a file, imported when first used."""

from assaymark.models.opening import open_model, open_role
from assaymark.models.protocols import capabilities_of
from assaymark.models.spec import ModelSpec, parse_spec

__all__ = ["ModelSpec", "capabilities_of", "open_model", "open_role", "parse_spec"]
