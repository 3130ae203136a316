"""Reports: figures in, Markdown, pages and cards out."""
