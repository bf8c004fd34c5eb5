"""Choosing runs and comparing them."""
