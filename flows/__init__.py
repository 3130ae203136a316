"""The story: which step follows which."""
