"""DRAM banks that compute.

Reading order: config (a description as tables), program (what channels are told to do), channel
(the face), kernel (the engine), energy; check looks at command logs, aim has the reference's
micro-benchmarks.
"""
