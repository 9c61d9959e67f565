"""What a test checks of a fake server's calls: assertions, and what is left over at its end."""
