"""The few exceptions of betascvi; each message says what was wrong, what came, what to do."""

from __future__ import annotations


class FactorError(ValueError):
    """A factor column cannot serve as asked (one level, all missing, mixed types...)."""


class UnknownFactorError(KeyError):
    """A factor, level or key that is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would quote the sentence


class CountsError(ValueError):
    """The count matrix cannot be modelled (negative, missing, empty...)."""


class UndefinedScoreError(ValueError):
    """A metric that has no value for the data given (one axis, one factor...)."""


class TrainingError(RuntimeError):
    """Training had to stop; the message names the term and says what was kept."""


class NotIdentifiableError(ValueError):
    """The design of the data cannot tell two factors apart."""


class UnknownDataSetError(KeyError):
    """No data set of this name; the message offers the closest."""

    __str__ = UnknownFactorError.__str__
