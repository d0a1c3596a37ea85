"""What several tests need: recordings, services, processes, and results to start from."""
