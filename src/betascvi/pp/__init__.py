"""What is made of the cells before a model sees them."""

from betascvi.pp._cell_cycle_angle import cell_cycle_angle

__all__ = ["cell_cycle_angle"]
