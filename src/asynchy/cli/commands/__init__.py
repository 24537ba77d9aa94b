"""The commands, a module each: options in, an exit code out."""
