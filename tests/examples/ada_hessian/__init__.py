"""A package that adds AdaHessian, a second-order optimizer of the public package pytorch_optimizer."""
