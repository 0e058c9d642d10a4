"""What varies and how the next candidate is proposed: search spaces, samplers, final selection."""
