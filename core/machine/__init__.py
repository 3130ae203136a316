"""The machine: its memory, and how processes end, are stopped and die."""
