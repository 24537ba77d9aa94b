"""What every run works with: the config's parts wired together, progress, threads, locks."""
