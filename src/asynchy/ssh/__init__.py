"""The system's ssh and rsync as child processes; nothing else in asynchy starts them."""
