"""Conversations from elsewhere: files of other tools, which are read as untrusted input."""
