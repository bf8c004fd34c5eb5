"""The pages: launch a comparison and watch its curves."""
