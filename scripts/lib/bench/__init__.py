"""What scripts/bench.py measures: our formulation beside the plain one, on the same work."""
