"""Linearization rules: forward, tangent and backward pass of each kind of layer."""
