"""The parts that every run needs: context, progress, threads, locks."""
