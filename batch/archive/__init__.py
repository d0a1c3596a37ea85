"""An output directory: what a run leaves there, and what is made of it."""
