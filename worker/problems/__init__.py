"""Networks, losses and data sets, and a registry to which plug-ins add."""
