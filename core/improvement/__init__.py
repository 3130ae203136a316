"""Rounds of improvement: where the understudy fails, whom it meets next, and whether a round was worth it."""
