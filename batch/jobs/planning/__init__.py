"""Which rows become jobs, and what they may cost."""
