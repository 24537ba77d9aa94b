"""SFTP version 3 over OpenSSH's client: packets, one connection."""
