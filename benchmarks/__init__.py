"""Benchmarks of holdall, compared with other libraries and with plain system calls in the same run. `make bench` runs
them.
"""
