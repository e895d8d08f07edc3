"""Run folders, the cache of model answers, and SQL views over all runs."""
