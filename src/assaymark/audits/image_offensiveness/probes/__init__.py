"""Mergeable measurements of the one pass over the images."""
