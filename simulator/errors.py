"""The errors of the simulated facility."""


class SimulatorError(RuntimeError):
    """The facility cannot be run on this machine, or was asked for something it does not know."""
