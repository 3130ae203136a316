"""The machine: its memory, and how processes end, are stopped, or are killed by signals."""
