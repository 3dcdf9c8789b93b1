"""The house stands as the README says: five wings, one package each, imports that run down only."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ["kernels", "tokenizers", "app", "training"]


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_holds_one_package_and_is_none_itself(wing):
    # An __init__.py in a wing would hide the PyPI packages `tokenizers` and `kernels`.
    assert not (ROOT / wing / "__init__.py").exists()
    packages = [path.parent.name for path in (ROOT / wing).glob("*/__init__.py")]
    assert packages == [f"rwkv_music_{wing}"]


def test_tests_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_tokenizers_of_pypi_are_not_hidden():
    code = "import tokenizers; print(tokenizers.Tokenizer.__module__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "tokenizers", done.stderr


def test_the_readme_holds_the_two_commands_and_the_layout():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^pip install .*$", readme, flags=re.MULTILINE)
    assert commands[0].startswith("pip install -c constraints.txt -e . && rwkv-music generate --prompt examples/")
    assert commands[1] == "pip install -c constraints.txt -e '.[test]' && pytest"
    assert len(commands) == 2
    prompt = commands[0].split("--prompt ")[1].split()[0]
    assert (ROOT / prompt).is_file()
    assert "Imports run down only" in readme


def test_every_dependency_is_pinned():
    pins = {re.split("[=;]", line)[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    declared = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert declared
    for requirement in re.findall(r'"([\w-]+)', declared[1]):
        assert requirement.lower().replace("_", "-") in {pin.lower().replace("_", "-") for pin in pins}
