"""From what was measured to estimates, tables, figures and sentences."""
