"""What is read of the pictures before any is decoded."""
