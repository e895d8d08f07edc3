"""What needs a model, or rests on several counts together."""
