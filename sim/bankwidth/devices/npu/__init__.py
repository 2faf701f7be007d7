"""What an NPU's units take with their operands at hand: arrays of multipliers, vector lanes."""
