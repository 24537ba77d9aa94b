"""The sftp engine: several streams, each a process with a connection of its own."""
