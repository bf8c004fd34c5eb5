"""Claims runs from the backend and trains them."""
