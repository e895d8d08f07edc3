"""Measurements that need a model or training: they run beside the tables, on images."""
