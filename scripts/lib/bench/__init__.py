"""What scripts/bench.py measures: ours against the plain formulation, on the same work, in one run."""
