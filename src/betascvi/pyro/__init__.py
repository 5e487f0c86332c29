"""The fitted generative program and its guide in Pyro."""

from betascvi.model._minibatch import Tensors, tensors_of
from betascvi.pyro._program import program

__all__ = ["Tensors", "program", "tensors_of"]
