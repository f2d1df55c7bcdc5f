"""What the scripts share: runs and how they are made (runs, lists, launcher, slurm), tables of results (report/) and
benchmarks (bench/)."""
