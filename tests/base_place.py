"""An environment with what `pip install leadline` brings and no extra, made of links to the distributions of this one."""

from __future__ import annotations

import venv
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(*names: str) -> set[str]:
    """The names of distributions and, without their extras, of all that they require here."""
    found: set[str] = set()
    wanted = [Requirement(name) for name in names]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if name in found and extras == {""}:
            continue
        found.add(name)
        for inner in map(Requirement, distribution(name).requires or ()):
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(inner)
    return found


def made(folder: Path, *names: str, source: Path) -> Path:
    """The interpreter of a new environment in ``folder`` that sees Leadline in ``source``, its base, and ``names``."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in closure("leadline", *names):
        files = distribution(name).files
        assert files, f"{name} does not say what it installed"
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            is_ours = name == "leadline" and not top.endswith(".dist-info")
            if not is_ours and not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    (packages / "leadline.pth").write_text(f"{source / 'core'}\n")
    program = folder / "bin" / "leadline"
    program.write_text(f"#!{folder / 'bin' / 'python'}\nfrom leadline.cli.main import main\n\nmain()\n")
    program.chmod(0o755)
    return folder / "bin" / "python"
