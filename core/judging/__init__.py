"""Judging: verdicts of yes or no, criterion by criterion, and what they are worth."""
