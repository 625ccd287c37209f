"""Compiled programs are kept between processes, one part per machine, up to a maximum size."""

import os
import subprocess
import sys
from pathlib import Path

from worker import program_cache

COMPILE = """
import tensorflow as tf
tf.function(lambda x: tf.reduce_sum(x @ x), jit_compile=True)(tf.ones((3, 3)))
"""


def test_programs_of_one_machine_and_version_share_a_directory(tmp_path: Path) -> None:
    flag = program_cache.flags_for(tmp_path)

    assert flag == program_cache.flags_for(tmp_path)
    name, _, quoted = flag.partition("=")
    assert name == "--tf_xla_persistent_cache_directory"
    assert Path(quoted.strip('"')).is_dir()
    assert Path(quoted.strip('"')).parent == tmp_path


def test_tensorflow_keeps_programs_in_a_directory_with_spaces_and_quotes(tmp_path: Path) -> None:
    directory = tmp_path / """it's "in" #1 100%? of back\\slash\nünïcode"""
    environment = os.environ | {"TF_XLA_FLAGS": program_cache.flags_for(directory)}

    subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True)

    assert len(list(directory.rglob("*.pb"))) == 1


def test_a_directory_that_cannot_be_created_means_that_no_programs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert program_cache.flags_for(tmp_path / "file" / "below") == ""


def test_a_directory_whose_name_is_not_utf8_means_that_no_programs_are_kept(tmp_path: Path) -> None:
    assert program_cache.flags_for(tmp_path / os.fsdecode(b"\xff")) == ""


def test_the_oldest_programs_are_deleted_first(tmp_path: Path) -> None:
    directory = tmp_path / "machine"
    directory.mkdir()
    for age, name in enumerate(("new", "middle", "old")):
        path = directory / f"{name}.pb"
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (directory / "other.txt").write_bytes(bytes(1000))

    program_cache.trim(tmp_path, max_bytes=250)

    assert sorted(path.name for path in directory.iterdir()) == ["middle.pb", "new.pb", "other.txt"]


def test_a_missing_directory_needs_no_trimming(tmp_path: Path) -> None:
    program_cache.trim(tmp_path / "none")
