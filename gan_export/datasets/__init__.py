"""Generate datasets of any size as a plan of shards, in any number of processes or machines, and check them."""
