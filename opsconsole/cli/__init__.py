"""The commands: thin translations from a command line to the session and from values to text, one module a family."""
