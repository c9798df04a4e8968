"""Reports of runs: one document, rendered as Markdown and as a self-contained HTML page."""
