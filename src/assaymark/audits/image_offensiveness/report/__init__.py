"""From measurements to tables, figures and findings."""
