"""What one pass over the posts counts."""
