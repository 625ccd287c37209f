"""Where compiled programs are kept between processes."""

import os
from pathlib import Path

from worker import program_cache as compiled_on_disk


def test_programs_of_one_machine_and_version_share_a_folder(tmp_path: Path) -> None:
    flag = compiled_on_disk.flags_for(tmp_path)

    assert flag == compiled_on_disk.flags_for(tmp_path)
    name, _, folder = flag.partition("=")
    assert name == "--tf_xla_persistent_cache_directory"
    assert Path(folder).is_dir()
    assert Path(folder).parent == tmp_path


def test_a_path_that_would_read_as_several_flags_is_not_used(tmp_path: Path) -> None:
    assert compiled_on_disk.flags_for(tmp_path / "with space") == ""


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert compiled_on_disk.flags_for(tmp_path / "file" / "below") == ""


def test_the_oldest_programs_go_first(tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    for age, name in enumerate(("new", "middle", "old")):
        path = folder / f"{name}.pb"
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (folder / "other.txt").write_bytes(bytes(1000))

    compiled_on_disk.cut(tmp_path, most_bytes=250)

    assert sorted(path.name for path in folder.iterdir()) == ["middle.pb", "new.pb", "other.txt"]


def test_a_folder_that_is_not_there_holds_nothing_to_cut(tmp_path: Path) -> None:
    compiled_on_disk.cut(tmp_path / "none")
