"""Compute SRAM beside the slices of a cache: look-up tables, bit-serial arithmetic, conversion.

`commands.py`: what an array can be told. `costs.py`: the cycles of it, by style. `cells.py`: the
same commands on real bits. `gemv.py` writes the programs of a matrix product, `tiling.py` deals it
to the arrays, `engine.py` runs it on the clock (`kernel.py`).
"""
