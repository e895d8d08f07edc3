"""From what was measured to tables, figures and findings, one file a subject; nothing is measured here."""
