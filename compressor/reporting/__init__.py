"""Results → JSON, Markdown, HTML and the table on the screen. Reads a run folder; trains and times nothing."""
