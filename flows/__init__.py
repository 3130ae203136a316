"""The Prefect flows: which step follows which."""
