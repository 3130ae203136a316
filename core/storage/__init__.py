"""Storage: the data root, and the files in it that several processes write at once."""
