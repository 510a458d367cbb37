"""Command line: one file a command, each thin. Imports everything; nothing below it prints."""
