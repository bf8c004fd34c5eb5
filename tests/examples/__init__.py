"""Packages as a user would write them, and tests that run them through everything."""
