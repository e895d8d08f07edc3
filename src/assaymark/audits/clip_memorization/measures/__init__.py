"""What needs models: embeddings of views and of held-out pairs, utility, object recall, pictures of the extremes."""
