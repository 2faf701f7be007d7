"""An engine inside a drive: where keys and values lie, what attention reads, what it computes.

Reading order: layout (pages), sparf (which of them), rates and jobs (what the drive is asked to
do), flush (what it writes), program (what a task says), functional (the same on numbers).
"""
