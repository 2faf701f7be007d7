"""Speed of compute SRAM: model steps, sweeps, one product, and products on real bits; kernels warm.

    python benchmarks/sram_lut.py [--processes 2]

A decode step of Llama-2-7B in CPU seconds, from the machine's description to the tables, and its
ratio to the same step whose products are all simulated one by one (without remembering). A sweep of
200 points, weight bits x batch x group size, in seconds on the wall. Commands that the arrays of a
product execute per second of CPU, when it is dealt and run anew; and multiplications per second
when each bit of it is computed (functional mode).
"""
