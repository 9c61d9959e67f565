"""Access: who and how much may come in. Connections, the calls that wait for a thread, and how long each may take."""
