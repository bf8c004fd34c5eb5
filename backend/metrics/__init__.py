"""Update rows: writing them, and reading them whole or thinned."""
