"""Access: limits on connections and calls, and on the directories that reloads may name."""
