"""How tfs-bench shows what it measured: a live table, text, JSON and an HTML page."""
