"""The formats that a transcript is written in."""
