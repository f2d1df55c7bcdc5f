"""What the scripts share: runs and how they are launched (run, protocols, sweeps, launch), and tables of results
(report/)."""
