"""tfs-serve: the tiny server as a program."""
