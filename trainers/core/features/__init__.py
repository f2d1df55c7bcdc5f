"""Image features: what a run holds of them, banks and caches, how they are encoded, batches."""
