"""Storage: the data root, and what several processes write in it at once."""
