"""The one-pass measurements: sufficient statistics of all rows, a bounded sample of rows, histograms of scores."""
