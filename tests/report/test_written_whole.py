from pathlib import Path

import pytest

from betascvi.report import written_whole


def test_a_folder_appears_once_everything_in_it_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"

    with written_whole(out, overwrite=False) as folder:
        (folder / "a.txt").write_text("a")
        seen_early = out.exists()

    assert not seen_early
    assert (out / "a.txt").read_text() == "a"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with written_whole(tmp_path / "run", overwrite=False) as folder:
            (folder / "a.txt").write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fill_the_disk()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    with pytest.raises(FileExistsError, match="there already"):
        written_whole(tmp_path / "run", overwrite=False).__enter__()


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")

    with pytest.raises(FileExistsError, match="left alone"):
        written_whole(tmp_path / "run", overwrite=True).__enter__()

    assert (tmp_path / "run" / "thesis.tex").exists()


def test_a_folder_of_ours_is_replaced_whole_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with written_whole(out, overwrite=False) as folder:
        (folder / "settings.json").write_text("{}")
        (folder / "old.txt").write_text("old")

    with written_whole(out, overwrite=True) as folder:
        (folder / "settings.json").write_text("{}")

    assert [p.name for p in out.iterdir()] == ["settings.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
