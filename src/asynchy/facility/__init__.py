"""The facility: what its portal and its SFTP service tell."""
