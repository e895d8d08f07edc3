"""What needs a model or an input of its own: ratings, baselines, captions, verdicts."""
