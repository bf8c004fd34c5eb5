"""The generalized Gauss-Newton matrix of a model at a batch, and the methods of multiplying by its diagonal blocks."""
