"""Where the messages of this package go."""

from __future__ import annotations

import logging
import sys


class _LikeScvi(logging.Handler):
    """Prints at scvi-tools' verbosity, unless the application has set up logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message, if nobody else takes it."""
        if logging.getLogger().handlers:
            return
        if record.levelno >= logging.getLogger("scvi").getEffectiveLevel():
            sys.stderr.write(self.format(record) + "\n")


def show_messages() -> None:
    """Show what is said at level INFO, as scvi-tools does; ``scvi.settings.verbosity`` rules both."""
    logger = logging.getLogger("betascvi")
    logger.addHandler(_LikeScvi())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
