"""How fast holdall is: beside its peers and the bare system calls, in one run. `make bench` runs it."""
