"""Hypothesis for the whole suite: no deadlines, and in CI the same examples every time.

Machines differ in speed and the first example of a kernel compiles it, so a deadline says nothing.
A red CI must mean that the change broke something; new examples are looked for everywhere else.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")
