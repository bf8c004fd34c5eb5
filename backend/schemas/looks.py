"""How optimizers are named and coloured, wherever they are drawn."""

OPTIMIZER_NAMES = {"adam": "Adam", "hf": "HF", "bhf": "BHF"}

# Okabe and Ito's palette, which colour-blind readers can tell apart; lighter on a dark page.
OPTIMIZER_COLOURS = {
    "light": {"adam": "#c8500a", "hf": "#0072b2", "bhf": "#00825f"},
    "dark": {"adam": "#f59b56", "hf": "#62b5f5", "bhf": "#35cda3"},
}
