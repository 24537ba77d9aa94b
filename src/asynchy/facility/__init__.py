"""Clients of the facility's portal and of its SFTP service."""
