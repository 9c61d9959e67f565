"""Where a client's options come from when its caller does not pass them: variables of the environment, and profiles."""
