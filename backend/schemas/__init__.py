"""THE CONTRACT: what a run is, what it reports, what a worker can do. Pydantic only; every package imports it.

A setting lives here once, with type, bounds, default, unit and one line of help; form, API docs, command line and
validation follow from it. `paper` in a setting's JSON schema is the value of Zhang et al. (2017), "Block-diagonal
Hessian-free optimization for training neural networks", where the paper states one.
"""
