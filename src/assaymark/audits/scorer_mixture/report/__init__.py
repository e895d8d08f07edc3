"""Tables, figures and sentences of the audit; no computation."""
