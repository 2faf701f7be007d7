"""Readers of results: terminal, page, figures, timeline and the files of a run."""
