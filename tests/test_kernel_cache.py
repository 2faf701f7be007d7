from __future__ import annotations

import os
from pathlib import Path

import pytest

from bankwidth import kernel_cache


def test_the_hash_follows_the_kernel_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "devices" / "x").mkdir(parents=True)
    kernel = tmp_path / "devices" / "x" / "kernel.py"
    kernel.write_text("a = 1")
    monkeypatch.setattr(kernel_cache, "__file__", str(tmp_path / "kernel_cache.py"))
    before = kernel_cache.sources_hash()
    (tmp_path / "devices" / "x" / "face.py").write_text("b = 1")
    assert kernel_cache.sources_hash() == before
    kernel.write_text("a = 2")
    assert kernel_cache.sources_hash() != before


def test_a_folder_named_by_the_user_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    assert kernel_cache.prepare() == tmp_path


def test_the_cache_lies_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(kernel_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = kernel_cache.prepare()
    assert folder.parent == tmp_path / "bankwidth"
    assert folder.name.endswith(kernel_cache.sources_hash())


def test_a_cache_that_cannot_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "file" / "below"))
    folder = kernel_cache.prepare()
    assert os.access(folder, os.W_OK)


def test_a_cold_cache_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr("sys.modules", {k: v for k, v in __import__("sys").modules.items()
                                        if k != "numba"})  # fmt: skip
    said: list[str] = []
    kernel_cache.prepare(said.append)
    (tmp_path / "x.nbi").write_text("")
    kernel_cache.prepare(said.append)
    assert len(said) == 1
    assert "compiling" in said[0]
