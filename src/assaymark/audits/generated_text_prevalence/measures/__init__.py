"""Measurements on texts that need a model, a word list or a language library."""
