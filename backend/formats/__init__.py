"""A run's history as CSV and Parquet."""
