"""asynchy brings experiments home from the Australian Synchrotron."""
