"""Where compiled kernels are kept: a folder named after the version and a hash of the sources.

Numba's own cache does not notice an edit in a module that a kernel calls into; a folder per hash of
all kernel sources does.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bankwidth import __version__

VARIABLE = "NUMBA_CACHE_DIR"


def sources_hash() -> str:
    """Twelve digits over the bytes of every kernel source, in the order of their paths."""
    root = Path(__file__).parent / "devices"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("kernel*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def user_cache() -> Path:
    """The user's cache folder: `XDG_CACHE_HOME`, or the platform's usual place."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home())))
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def prepare(notice: Callable[[str], None] | None = None) -> Path:
    """Point numba at our folder, once, before it is imported; say so when it has to compile.

    A folder that the user named in NUMBA_CACHE_DIR is taken as it is. Where the cache cannot be
    written a temporary folder stands in, and the kernels compile in every process.
    """
    named = os.environ.get(VARIABLE)
    folder = (
        Path(named) if named else user_cache() / "bankwidth" / f"{__version__}-{sources_hash()}"
    )
    if not _writable(folder):
        folder = Path(tempfile.mkdtemp(prefix="bankwidth-kernels-"))
    if "numba" not in sys.modules:
        os.environ[VARIABLE] = str(folder)
    if notice is not None and "numba" not in sys.modules and not any(folder.rglob("*.nbi")):
        notice("compiling kernels (first run with this version, up to a minute) ...")
    return folder


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
