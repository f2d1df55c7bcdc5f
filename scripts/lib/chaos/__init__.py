"""Fault injection: runs are killed, files damaged, processes raced, and what comes out is compared with a clean run's.

lab.py is the place where it happens; each other module is a part: a function from (lab, count, rng) to its cases.
"""
