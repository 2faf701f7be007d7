"""Request-level runs: arrivals through iteration-level batching, each iteration priced."""
