"""The built distributions as a user gets them: `python tests/release/fresh.py FOLDER` fails unless they are sound.

Rule: a new virtual environment has the wheel with its extra `redis` and nothing else of ours, and runs what the README
begins with.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[0]
IN_WHEEL = ("langgraph_sessionstore/py.typed", "langgraph_sessionstore/cli/app.py")
IN_SOURCE = ("README.md", "CHANGELOG.md", "LICENSE", "tox.ini", "pyproject.toml", "tests/lowest.txt")
WITHOUT_CLI = """
import subprocess, sys
done = subprocess.run([sys.executable, "-m", "langgraph_sessionstore", "ls"], capture_output=True, text=True)
assert (done.returncode, "langgraph-sessionstore[cli]" in done.stderr) == (2, True), done
"""


def contents(wheel: Path, source: Path) -> None:
    """What lies in them."""
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in IN_WHEEL if name not in names], names
    strays = [name for name in names if not name.startswith("langgraph_sessionstore")]
    assert not strays, strays
    with tarfile.open(source) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert not [name for name in IN_SOURCE if name not in files], sorted(files)


def installed(wheel: Path, folder: Path) -> None:
    """It is installed, and does what the README shows first."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*arguments: str) -> None:
        subprocess.run([str(python), *arguments], check=True, cwd=folder)

    run("-m", "pip", "install", "--quiet", f"{wheel}[redis]")
    run("-W", "error", "-c", FIRST)
    run("-W", "error", str(ROOT / "examples" / "quickstart.py"))
    run("-c", WITHOUT_CLI)
    run("-m", "pip", "install", "--quiet", f"{wheel}[redis,cli]")
    run("-m", "langgraph_sessionstore", "ls", "--url", "./sessions")
    run("-m", "pip", "check")


def main(folder: Path) -> None:
    """Look into both, and install one."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    contents(wheel, source)
    with tempfile.TemporaryDirectory() as temporary:
        installed(wheel.absolute(), Path(temporary))
    sys.stdout.write(f"{wheel.name} and {source.name} are as they should be\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
