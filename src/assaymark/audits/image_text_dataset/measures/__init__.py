"""Measurements that need a model or an input beside the table: they run after the pass over the data, on few rows."""
