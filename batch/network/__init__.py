"""The network: what goes out of this process, and what listens in it."""
