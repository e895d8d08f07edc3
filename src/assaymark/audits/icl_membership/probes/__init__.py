"""What is measured in the one pass over the texts."""
