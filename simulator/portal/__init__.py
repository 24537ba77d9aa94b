"""The portal, as a process of its own: it speaks `docs/portal.md`, and goes wrong on demand."""
