"""Tables, figures and findings, section by section."""
