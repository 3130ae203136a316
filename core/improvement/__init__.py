"""Rounds of improvement: where the understudy fails, which personas it plays next, and whether a round improved it."""
