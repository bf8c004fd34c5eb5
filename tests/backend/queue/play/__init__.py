"""Stateful tests: hypothesis runs random actions on the queue and on a model of it, and compares them."""
