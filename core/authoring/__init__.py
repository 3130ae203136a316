"""Authoring: domain packs drafted, reviewed and tried out."""
