"""Conversations from elsewhere: other tools' files, read as strangers' files."""
