"""What someone who writes `import leadline` can rely on."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from places import ROOT

import leadline


def test_every_public_name_is_listed_and_there():
    assert set(leadline.__all__) <= set(dir(leadline))
    for name in leadline.__all__:
        assert getattr(leadline, name) is not None


def test_importing_is_quick_and_loads_no_torch():
    code = "import time; t = time.process_time(); import leadline, sys; print(time.process_time() - t, 'torch' in sys.modules)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, _ in runs) < 0.2
    assert {torch_loaded for _, torch_loaded in runs} == {"False"}


def test_a_type_checker_knows_what_predict_returns(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "import leadline\n"
        'model = leadline.load("fiffdepth-mini")\n'
        'reveal_type(model.predict("x.jpg"))\n'
        'reveal_type(model.predict(["x.jpg", "y.jpg"]))\n'
        'reveal_type(model.predict([Path("x.jpg")], ensemble=4))\n'
        "model.predict(3.5)\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "mypy", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,  # with the project's own settings and cache
    )
    revealed = re.findall(r'Revealed type is "([^"]+)"', run.stdout)
    prediction = "leadline.depth.prediction.DepthPrediction"
    assert [one.replace("builtins.", "") for one in revealed] == [prediction, *[f"list[{prediction}]"] * 2], run.stdout
    assert re.search(r":7: error: No overload variant", run.stdout), run.stdout


#: What the rooms without torch may import: installed beside them in the environment made below.
LIGHT_PACKAGES = ("numpy", "cv2", "PIL", "scipy", "yaml", "zmq", "OpenEXR", "av")
LIGHT_ROOMS = ("depth", "sensors", "files", "geometry", "video", "serving/protocol", "serving/client")


def test_rooms_without_torch_import_where_there_is_none(tmp_path: Path):
    venv.create(tmp_path / "light", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "light" / "lib").glob("python*/site-packages")
    for name in LIGHT_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            pytest.skip(f"{name} is not installed")
        installed = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        (packages / installed.name).symlink_to(installed)
        for libraries in installed.parent.glob("*.libs"):
            if not libraries.name.startswith("ros_") and not (packages / libraries.name).exists():
                (packages / libraries.name).symlink_to(libraries)
    (packages / "leadline.pth").write_text(f"{ROOT / 'core'}\n")
    core = ROOT / "core"
    modules = sorted(
        ".".join(file.relative_to(core).with_suffix("").parts).removesuffix(".__init__")
        for room in LIGHT_ROOMS
        for file in (core / "leadline" / room).rglob("*.py")
    )
    code = "import importlib, sys\n[importlib.import_module(name) for name in sys.argv[1:]]\nassert 'torch' not in sys.modules"
    run = subprocess.run(
        [str(tmp_path / "light" / "bin" / "python"), "-I", "-c", code, *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert subprocess.run(
        [str(tmp_path / "light/bin/python"), "-Ic", "import torch"], capture_output=True, check=False
    ).returncode
