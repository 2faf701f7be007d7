"""Bankwidth: cycle-level simulation of memory-centric hardware for transformer inference."""

__version__ = "0.1.0"
