"""A package that adds every optimizer of torch.optim, chosen by its name."""
