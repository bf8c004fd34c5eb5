"""The contract: what a run is, what it reports and what a worker can do. Pydantic only; every package imports it.

Each setting is declared here once, with type, bounds, default, unit and one line of help. Form, API docs, command
line and validation follow from it. `paper` in the JSON schema of a setting is the value of Zhang et al. (2017),
"Block-diagonal Hessian-free optimization for training neural networks", if the paper states one.
"""
