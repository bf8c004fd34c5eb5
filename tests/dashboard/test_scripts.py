"""The arithmetic of the browser's modules, in Node.js; the tests are in the folder `static`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import dashboard
from dashboard.ui.live_curves import measure_records

NODE = shutil.which("node")
TESTS = sorted((Path(__file__).parent / "static").glob("*.test.mjs"))


@pytest.mark.skipif(NODE is None, reason="no node (package nodejs) on PATH")
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_browsers_arithmetic(file: Path, tmp_path: Path) -> None:
    """Every test of the file passes."""
    modules = shutil.copytree(Path(dashboard.__file__).parent / "static", tmp_path / "static")
    (modules / "package.json").write_text('{"type": "module"}')  # so that each version of Node.js reads .js as modules
    environment = os.environ | {"BLOCKHF_STATIC": str(modules), "BLOCKHF_MEASURES": json.dumps(measure_records())}
    done = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", str(file)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# pass 0" not in done.stdout, "the file has no test"
