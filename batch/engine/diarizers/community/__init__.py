"""The built-in diarizer."""
