"""The commands. They parse, call the library, print, and end with a code that says how it went."""
