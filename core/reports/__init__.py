"""Reports: Markdown, pages and cards from figures."""
