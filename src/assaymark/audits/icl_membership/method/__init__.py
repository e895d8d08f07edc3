"""The methods of membership inference against in-context learning: pure functions on arrays and texts."""
