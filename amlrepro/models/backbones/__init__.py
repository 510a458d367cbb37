"""Encoders that several models share: where their weight files lie and how they load. Imports `errors` and `files`."""
