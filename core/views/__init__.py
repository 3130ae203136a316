"""The data of the studio's pages, read from the data root as plain objects and tested without a browser."""
