"""Judging: yes-or-no verdicts, criterion by criterion, and how far they can be trusted."""
