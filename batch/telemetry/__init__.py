"""What happens in a run, told to whoever watches."""
