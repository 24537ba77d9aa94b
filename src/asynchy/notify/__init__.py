"""Telling people by mail: words, message, delivery."""
