"""Feature generators of any paper: a network, what trains it, and what draws from it."""
