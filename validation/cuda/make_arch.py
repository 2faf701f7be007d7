"""Write a draft of a machine from microbenchmarks.

    make -C validation/cuda/microbench run OUT=/tmp/micro
    python validation/cuda/make_arch.py /tmp/micro --name my-gpu --out .
    bankwidth check my-gpu.yaml

Two files: NAME.yaml, the machine, and NAME-gpu.yaml beside it. Values that no microbenchmark gives
are those of the nearest shipped GPU. Exit codes: 0 done, 2 wrong input, or a file would be
replaced.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

from gpucap.arch_draft import base_of, gpu_yaml, machine_yaml
from gpucap.micro_rows import read_micro
from gpucap.problems import DONE, CaptureError, exit_code_of


def main() -> int:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("folder", type=Path, help="with the CSV files of the microbenchmarks")
    add("--name", required=True, help="of the machine and of its file")
    add("--out", type=Path, default=Path(), metavar="FOLDER", help="where both files go")
    add("--base", metavar="gpu/NAME", help="shipped GPU that gives what was not measured")
    arguments = parser.parse_args()
    for path in write_draft(arguments.folder, arguments.name, arguments.out, arguments.base):
        print(path)
    return DONE


def write_draft(folder: Path, name: str, out: Path, base: str | None = None) -> list[Path]:
    """Both files. Raises CaptureError for a bad name, and rather than replace a file."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise CaptureError(f"name must be small letters, digits, '.', '_' and '-', got {name!r}")
    micro = read_micro(folder)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    gpu = f"{name}-gpu"
    texts = {
        out / f"{name}.yaml": machine_yaml(micro, name, f"{gpu}.yaml", date),
        out / f"{gpu}.yaml": gpu_yaml(micro, gpu, base or base_of(micro), date),
    }
    for path in texts:
        if path.exists():
            raise CaptureError(f"{path}: exists already and is not replaced")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise CaptureError(f"{out}: cannot be written: {error.strerror}") from error
    return list(texts)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
