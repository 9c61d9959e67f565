"""Access: who and how much may come in, and what reloads may bring."""
