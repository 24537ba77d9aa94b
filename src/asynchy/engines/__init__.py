"""What moves the files of one experiment from the facility to its place at home."""
