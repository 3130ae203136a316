"""Domain packs: the files that describe a domain, and the prompts that models read."""
