"""DRAM banks that compute.

Reading order: config (a description as tables), program (what channels are told to do), channel
(the face), kernel (the engine), energy; check looks at command logs, aim has the reference's
micro-benchmarks. The numbers behind the commands, which no timing depends on, are in functional,
with numbers (formats) and operands (what a program leaves open). hbm_pim writes HBM-PIM's programs,
for the controller of kernel_grouped; plain those of plain traffic.
"""
