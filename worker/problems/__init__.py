"""Networks, losses and data sets; a registry that plug-ins join."""
