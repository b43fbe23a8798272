"""What commands say to the person at the terminal, and nothing that a service needs."""

from libs.console._progress import Progress, bar, time_left
from libs.console._terminal import Style, Terminal, printable

__all__ = ["Progress", "Style", "Terminal", "bar", "printable", "time_left"]
