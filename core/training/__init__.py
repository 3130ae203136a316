"""Training and export: what a job is asked for, what it needs, and what it may cost."""
