"""What a run leaves to read: one document, written as Markdown and as a self-contained HTML page."""
