"""Receipts: what a copy is, written down beside it for people and for other programs."""
