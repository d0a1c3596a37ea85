"""Speech on this machine: words, their times, and voices."""
