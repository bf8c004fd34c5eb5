"""A run's status and the actions on it."""
