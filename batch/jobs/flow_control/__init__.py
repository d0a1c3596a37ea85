"""What paces a run: how much at once, how fast, and when to try again."""
