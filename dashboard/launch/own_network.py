"""How to train a network or data of one's own, on the launch page."""

import streamlit as st

from backend.schemas.problem_template import problem_package

DATA = """
**Your own data**: save `NAME.npz` in the folder `data` of `BLOCKHF_HOME` (default `.blockhf/data`) and start the worker
again. It must have the arrays `x_train`, `y_train`, `x_test` and `y_test`:

- images of shape (n, height, width), (n, channels, height, width) or (n, size), as `uint8` or as numbers from 0 to 1;
- one label per image, a whole number from 0.

**Refused**, with the reason in the worker's log or beside the run:

- a file without one of the four arrays, or with numbers outside 0 to 1: the loss would have another scale;
- batch normalization in training mode and dropout: the curvature products need a fixed network;
- a parameter that the loss does not depend on, and a loss that is not convex in the outputs: the Gauss-Newton matrix
  would not be defined or not be positive.
"""
CODE = """
**Your own network** is a package of two files. `blockhf new-problem my-network` writes them; change `build`, then
`pip install ./my-network` beside the worker and start the worker again. The network then appears in the list above.
To test it, start from its preset *will BHF help?*: Adam, HF and BHF with three seeds, in two minutes of training.
"""


def draw() -> None:
    """Draw the explanation, behind a button."""
    with st.popover("Use your own network", icon=":material/add_box:", width="content"):
        st.markdown(CODE)
        for path, text in problem_package("my-network").items():
            st.caption(path)
            st.code(text, language="toml" if path.endswith("toml") else "python")
        st.markdown(DATA)
