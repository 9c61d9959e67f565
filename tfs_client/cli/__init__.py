"""The commands. They parse arguments, call the library, print the result and exit with a code for the outcome."""
