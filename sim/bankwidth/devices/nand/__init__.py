"""Drives of NAND flash."""
