"""Builds the Blender extension: `python blender_addon/build.py [--output dist]` (Python 3.11 or newer, with pip).

Two .zip files, and two more with --full that bring Leadline's own wheel along for the Install Server button. Two,
because Blender refuses a package in which any wheel is for another Python than its own: one for Blender 4.2 to 5.0
(Python 3.11) and one for 5.1 and newer (pyzmq's wheels for every Python from 3.12).

What the extension shares with the `leadline` package (geometry, wire protocol, client) is copied from `core/` as it is
at this moment, and `from leadline.x import y` is turned into relative imports everywhere; there is no second copy in
the repository.
Wheels are fetched by exact name and checked against the hashes in wheels.txt; they are kept in build/wheels.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CORE = ROOT / "core" / "leadline"
SOURCE = HERE / "leadline_blender"
WHEEL_CACHE = ROOT / "build" / "wheels"

#: All that shared modules may import beside the standard library: what Blender's Python has, or gets from the wheels.
ALLOWED_IMPORTS = frozenset({"numpy", "zmq"})
BARE_PACKAGE = '"""Part of Leadline\'s core, Apache-2.0 (see LICENSE)."""\n'

BUILDS = {
    "cp311": {"file": "blender-4.2-to-5.0", "blender_version_min": "4.2.0", "blender_version_max": "5.1.0"},
    "abi3": {"file": "blender-5.1", "blender_version_min": "5.1.0"},
}
#: pip's names for the platforms of the wheels in wheels.txt.
PIP_PYTHON = {"cp311": ("3.11", "cp311"), "abi3": ("3.13", "abi3")}
EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the .zip files")
    parser.add_argument("--full", action="store_true", help="also with the server's wheel inside (50 MB more)")
    parser.add_argument("--only", choices=list(BUILDS), help="build just one of the two")
    parser.add_argument("--no-fetch", action="store_true", help="fail rather than download a missing wheel")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for build in [options.only] if options.only else BUILDS:
        for full in (False, True) if options.full else (False,):
            path = make_zip(build, options.output, fetch=not options.no_fetch, full=full)
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            print(f"{shown}: {path.stat().st_size / 1e6:.1f} MB,", validate(path))


def make_zip(build: str, folder: Path, fetch: bool = True, full: bool = False) -> Path:
    """Write the .zip of one build and return its path. Equal sources give equal bytes.

    ``full``: with Leadline's wheel in ``server/``.
    """
    wheels = [wheel(build, name, digest, fetch) for kind, name, digest in wheel_list() if kind == build]
    files = {f.relative_to(SOURCE).as_posix(): source_bytes(f) for f in sources()}
    files |= {name: text.encode() for name, text in shared_modules().items()}
    files |= {f"wheels/{path.name}": path.read_bytes() for path in wheels}
    files["blender_manifest.toml"] = manifest(build, [path.name for path in wheels]).encode()
    files["LICENSE"] = (ROOT / "LICENSES" / "GPL-3.0-or-later.txt").read_bytes()
    files["leadline/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    if full:
        server = leadline_wheel()
        files[f"server/{server.name}"] = server.read_bytes()
    version = re.search(rb"^version = \"(.+)\"", files["blender_manifest.toml"], re.MULTILINE)[1].decode()
    path = folder / f"leadline_blender-{version}-{BUILDS[build]['file']}{'-full' if full else ''}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, files[name])
    return path


def sources() -> list[Path]:
    return [f for f in SOURCE.rglob("*") if f.is_file() and f.suffix in (".py", ".toml")]


def source_bytes(file: Path) -> bytes:
    """One of the extension's own files, with its imports of core pointing into the bundle."""
    if file.suffix != ".py":
        return file.read_bytes()
    return re.sub(r"^(\s*)from leadline\.", r"\1from .leadline.", file.read_text(), flags=re.MULTILINE).encode()


def manifest(build: str, wheels: list[str]) -> str:
    """The manifest with the version range and the wheels of this build, before its first table."""
    text = (SOURCE / "blender_manifest.toml").read_text()
    lines = [f'{key} = "{value}"' for key, value in BUILDS[build].items() if key.startswith("blender_version")]
    lines += ["wheels = [", *(f'  "./wheels/{name}",' for name in wheels), "]"]
    head, table, rest = text.partition("\n[permissions]")
    head = re.sub(r"^#.*\n", "", head, flags=re.MULTILINE)
    return head + "\n".join(lines) + "\n" + table + rest


def shared_modules() -> dict[str, str]:
    """Path in the .zip → text, for all modules of core that the extension imports, and those that they import."""
    modules: dict[str, str] = {}
    waiting = sorted(roots())
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        text = module_file(name).read_text()
        imported = imports_of(name, text)
        foreign = {top for top in (i.partition(".")[0] for i in imported) if top not in ("leadline", *ALLOWED_IMPORTS)}
        foreign -= set(sys.stdlib_module_names)
        if foreign:
            sys.exit(f"{name} imports {', '.join(sorted(foreign))}, which Blender's Python does not have")
        modules[name] = relative_imports(name, text)
        waiting += [i for i in imported if i.startswith("leadline.")]
    # A package that only holds imported modules shrinks to a docstring: its own __init__ may pull in what Blender lacks.
    for name in list(modules):
        for depth in range(1, name.count(".") + 1):
            modules.setdefault(".".join(name.split(".")[:depth]), BARE_PACKAGE)
    return {archive_name(name): text for name, text in modules.items()}


def roots() -> set[str]:
    """Modules of core that the extension's own files import (`from leadline.x import y`)."""
    nodes = (n for f in SOURCE.glob("*.py") for n in ast.walk(ast.parse(f.read_text())))
    return {
        n.module
        for n in nodes
        if isinstance(n, ast.ImportFrom) and n.level == 0 and (n.module or "").startswith("leadline.")
    }


def module_file(name: str) -> Path:
    path = CORE.parent / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def archive_name(name: str) -> str:
    is_package = module_file(name).name == "__init__.py"
    return "/".join(name.split(".")) + ("/__init__.py" if is_package else ".py")


def imports_of(name: str, text: str) -> set[str]:
    """Modules that a module imports anywhere in its text; submodules named in `from package import` included."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            if any(alias.name.partition(".")[0] == "leadline" for alias in node.names):
                sys.exit(f"{name}: write `from leadline... import ...`; a plain import cannot be made relative")
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                sys.exit(f"{name}: core uses absolute imports")
            if node.module.partition(".")[0] != "leadline":
                found.add(node.module)
                continue
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {module for module in below if module_file(module).is_file()}
            found |= submodules
            if len(submodules) < len(below):
                found.add(node.module)
    return found


def relative_imports(name: str, text: str) -> str:
    """`from leadline.a.b import c` as seen from module `name`, with dots."""
    is_package = module_file(name).name == "__init__.py"
    dots = "." * (name.count(".") + is_package)
    return re.sub(
        r"^(\s*)from leadline(?:\.([\w.]+))? import ",
        lambda m: f"{m[1]}from {dots}{m[2] or ''} import ",
        text,
        flags=re.MULTILINE,
    )


def wheel_list() -> list[tuple[str, str, str]]:
    lines = (HERE / "wheels.txt").read_text().splitlines()
    return [tuple(line.split()) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def wheel(build: str, name: str, digest: str, fetch: bool) -> Path:
    """The wheel's path in the cache; fetched if it is not there; its hash is always checked."""
    path = WHEEL_CACHE / name
    if not path.exists():
        if not fetch:
            sys.exit(f"{path} is missing; run without --no-fetch")
        project, version, _, abi, platforms = name.removesuffix(".whl").split("-")
        python, _ = PIP_PYTHON[build]
        WHEEL_CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            wanted = Path(folder) / "wanted.txt"
            wanted.write_text(f"{project}=={version} --hash=sha256:{digest}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            command += ["--implementation", "cp", "--python-version", python, "--abi", abi]
            command += ["--platform", platforms.split(".")[-1], "--dest", str(WHEEL_CACHE)]
            subprocess.run([*command, "--require-hashes", "-r", str(wanted)], check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        path.unlink()
        sys.exit(f"{name} has the hash {found}, wheels.txt says {digest}; it was deleted, try again")
    return path


def leadline_wheel() -> Path:
    """Leadline's own wheel, built from the sources as they are; in a copy, where no older build lies about."""
    parts = ["pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE", "package.xml"]
    with tempfile.TemporaryDirectory() as folder:
        for name in [*parts, "LICENSES", "core", "ros2_node", "resource", "launch", "config"]:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
                )
            else:
                shutil.copy(ROOT / name, folder)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", str(WHEEL_CACHE), folder], check=True)
    return max(WHEEL_CACHE.glob("leadline-*.whl"), key=lambda path: path.stat().st_mtime)


def validate(path: Path) -> str:
    """Let Blender's own checker judge the .zip, if a Blender from tests/blender/make_envs.sh is here."""
    checkers = sorted(
        ROOT.glob(".venv-bpy*/lib/python*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    )
    if not checkers:
        return "not validated: no Blender here (tests/blender/make_envs.sh makes one)"
    for checker in checkers:
        run = subprocess.run(
            [sys.executable, str(checker), "validate", str(path)], capture_output=True, text=True, check=False
        )
        if run.returncode:
            sys.exit(f"{path.name} was refused by Blender's checker:\n{run.stdout}{run.stderr}")
    return f"valid for {len(checkers)} versions of Blender's checker"


if __name__ == "__main__":
    main()
