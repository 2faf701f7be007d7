"""A CPU's kernels: instructions counted off a library's loops, and what cores make of them.

Reading order: instructions (counts), chip (ports, caches, one core's share of memory), cost, then
products (unpack and multiply), lookups (tables), functions.
"""
