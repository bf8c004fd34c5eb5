"""Hypothesis plays with the queue, beside a model of it: whatever happens, they agree."""
