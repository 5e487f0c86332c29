from pathlib import Path

import pytest

from betascvi._written_whole import Folder, file_written_whole


def folder(path: Path, *, overwrite: bool) -> Folder:
    return Folder(path, overwrite, ("settings.json",), "folder of a fit", "--overwrite")


def test_a_folder_appears_once_everything_in_it_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"

    with folder(out, overwrite=False).written_whole() as draft:
        (draft / "a.txt").write_text("a")
        seen_early = out.exists()

    assert not seen_early
    assert (out / "a.txt").read_text() == "a"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with folder(tmp_path / "run", overwrite=False).written_whole() as draft:
            (draft / "a.txt").write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fill_the_disk()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    with pytest.raises(FileExistsError, match="there already"):
        folder(tmp_path / "run", overwrite=False).written_whole().__enter__()


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")

    with pytest.raises(FileExistsError, match="left alone"):
        folder(tmp_path / "run", overwrite=True).written_whole().__enter__()

    assert (tmp_path / "run" / "thesis.tex").exists()


def test_a_folder_of_ours_is_replaced_whole_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with folder(out, overwrite=False).written_whole() as draft:
        (draft / "settings.json").write_text("{}")
        (draft / "old.txt").write_text("old")

    with folder(out, overwrite=True).written_whole() as draft:
        (draft / "settings.json").write_text("{}")

    assert [p.name for p in out.iterdir()] == ["settings.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_of_a_link_the_folder_it_points_to_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "run", tmp_path / "run"
    real.mkdir(parents=True)
    (real / "settings.json").write_text("{}")
    link.symlink_to(real)

    with folder(link, overwrite=True).written_whole() as draft:
        (draft / "settings.json").write_text('{"new": 1}')

    assert link.is_symlink()
    assert (real / "settings.json").read_text() == '{"new": 1}'
    assert [p.name for p in real.parent.iterdir()] == ["run"]


def test_an_old_folder_is_there_again_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with folder(out, overwrite=False).written_whole() as draft:
        (draft / "settings.json").write_text("old")
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if target == out and not self.name.endswith("-old"):
            raise OSError("no space left on device")
        return rename(self, target)

    def overwrite() -> None:
        with folder(out, overwrite=True).written_whole() as draft:
            (draft / "settings.json").write_text("new")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="no space"):
        overwrite()

    assert (out / "settings.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "new" / "scores.csv"
    with file_written_whole(out) as draft:
        draft.write_text("old")

    def fill_the_disk() -> None:
        with file_written_whole(out) as draft:
            draft.write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fill_the_disk()

    assert out.read_text() == "old"
    assert [p.name for p in out.parent.iterdir()] == ["scores.csv"]
    beside = tmp_path / "beside"
    beside.touch()
    assert out.stat().st_mode == beside.stat().st_mode
