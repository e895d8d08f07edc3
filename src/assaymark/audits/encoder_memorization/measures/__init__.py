"""What needs an encoder: the one pass over the pictures, and the parts of a network that are pruned or tuned."""
