"""What the pages of the studio show, as plain data: read from the data root, and tested without a browser."""
