"""What a run is beside its method: task, checkpoints, evaluation, results."""
