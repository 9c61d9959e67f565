"""Files the server reads: names, sizes, contents, errors."""
