"""The built-in recognizer."""
