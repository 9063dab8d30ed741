"""Benchmarks of holdall, compared with other libraries and plain system calls in the same run; see `make bench`."""
