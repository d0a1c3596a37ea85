"""Whoever transcribes."""
