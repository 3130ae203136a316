"""Training and export: the specifications of jobs, what they need, and what they may cost."""
