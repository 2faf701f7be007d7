"""A machine's memories, links and engines wired on one simpy clock of integer picoseconds."""
