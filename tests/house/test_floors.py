"""The floors drawn in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_import_of_the_agent_is_python_3_9_or_travels_with_it():
    import ast

    allowed = sys.stdlib_module_names | {"opsconsole", "pynvml"}
    for file in [*(ROOT / "opsconsole/agent").glob("*.py"), ROOT / "opsconsole/protocol.py", ROOT / "opsconsole/physics.py"]:
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 9))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.split(".")[0] for name in names} <= allowed, f"{file.name} imports {names}"
