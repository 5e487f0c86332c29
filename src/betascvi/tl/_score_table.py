"""The record of a score table: figures with null, interval and ceiling beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from betascvi.factors import Overlap

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One figure, and what it has to be read against. Missing figures have a reason."""

    metric: str
    part: str
    factor: str
    given: str
    """Nested factors: the parent within whose levels the figure was taken."""
    value: float | None
    low: float | None = None
    high: float | None = None
    null_mean: float | None = None
    null_high: float | None = None
    """95 % quantile of the null."""
    p_value: float | None = None
    ceiling: float | None = None
    """What a perfect code, one axis a factor, scores on these cells."""
    n_cells: int = 0
    n_left_out: int = 0
    """Cells without a label of this factor, among those looked at."""
    n_null: int = 0
    n_resamples: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Every metric of one embedding, side by side; ``bs.pl.scores`` draws it."""

    key: str
    rows: tuple[ScoreRow, ...]
    overlap: Overlap | None = None
    """How the factors overlap; ``None`` where there is one factor only."""
    settings: Mapping[str, object] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row a figure."""
        import pandas as pd

        names = ScoreRow.__slots__
        frame = pd.DataFrame([{n: getattr(row, n) for n in names} for row in self.rows])
        frame = frame.astype(dict.fromkeys(_NUMBERS, float))
        frame.insert(0, "key", self.key)
        return frame

    def matrix(self, column: str = "value") -> pd.DataFrame:
        """(metric and part, factor) figures that are not conditional."""
        frame = self.to_frame()
        frame = frame[frame["given"] == ""]
        name = frame["metric"].where(
            frame["part"] == "headline", frame["metric"] + " " + frame["part"]
        )
        frame = frame.assign(figure=name)
        square = frame.pivot_table(
            index="figure", columns="factor", values=column, sort=False, dropna=False
        )
        return square.reindex(index=name.unique(), columns=frame["factor"].unique())

    def __str__(self) -> str:
        value, null = self.matrix("value"), self.matrix("null_mean")
        cells = {
            column: [
                "-" if v != v else f"{v:.2f}" if n != n else f"{v:.2f} ({n:.2f})"
                for v, n in zip(value[column], null[column], strict=True)
            ]
            for column in value
        }
        lines = [type(value)(cells, index=value.index).to_string(index_names=False)]
        failed = [row for row in self.rows if row.reason]
        return "\n".join(
            lines + [f"not scored: {row.metric} {row.factor}: {row.reason}" for row in failed]
        )


_NUMBERS = ("value", "low", "high", "null_mean", "null_high", "p_value", "ceiling")
