"""A package that adds an optimizer: two entry points, and no edit of BlockHF."""
