"""Authoring: drafting, reviewing and trying out domain packs, and searching for better prompts."""
