"""The generalized Gauss-Newton matrix of a model at a batch, and the ways of multiplying by its diagonal blocks."""
