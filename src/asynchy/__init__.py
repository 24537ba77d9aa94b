"""asynchy brings experiments home from the Australian Synchrotron."""

from importlib.metadata import version

__version__ = version("asynchy")
