"""Doctor, backup, purge and the supervisor of the three processes."""
