"""Search: which stages to run, and what they say about a latency bound."""
