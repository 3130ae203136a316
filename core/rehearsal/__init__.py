"""Rehearsal: conversations between a simulated user and an assistant."""
