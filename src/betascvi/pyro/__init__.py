"""The fitted generative program and its guide in Pyro."""

from betascvi.pyro._program import Tensors, program, tensors_of

__all__ = ["Tensors", "program", "tensors_of"]
