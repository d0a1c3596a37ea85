"""What a terminal shows of a run, a plan, a search."""
