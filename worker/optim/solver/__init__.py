"""Conjugate gradient and what surrounds it: start, preconditioner, damping, choice of the step."""
