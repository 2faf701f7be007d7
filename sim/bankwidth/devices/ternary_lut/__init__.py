"""Cores that look ternary products up in tables of activations: clocks, weight buffers, numbers."""
