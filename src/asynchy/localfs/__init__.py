"""Files at home: opened so that nothing outside a copy is touched, compared, hashed, kept."""
