"""opsconsole: see, remember, foresee and act on a fleet of GPU inference nodes over SSH."""

__version__ = "0.1.0"
