"""What a user names, as a stream of recordings."""
