"""From measurements to tables, figures, estimates and findings: one module for each section."""
