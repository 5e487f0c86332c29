"""scvi-tools' runner, which leaves a model its split of the cells when a training is interrupted."""

from __future__ import annotations

from scvi.train import TrainRunner

_SPLIT = {"train_indices": "train_idx", "validation_indices": "val_idx", "test_indices": "test_idx"}


class Runner(TrainRunner):
    """What was learned until an interrupt can be used: by tools that ask for held-out cells, too."""

    def __call__(self) -> None:
        """Train."""
        try:
            super().__call__()
        except BaseException:
            if getattr(self.data_splitter, "train_idx", None) is not None:  # else it had not begun
                for name, kept in _SPLIT.items():
                    setattr(self.model, name, getattr(self.data_splitter, kept, None))
            raise
