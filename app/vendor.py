"""Bring a version of abcjs into the studio: python app/vendor.py 6.7.2 (needs npm; the hash that npm tells is checked)."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).parent / "rwkv_music_app" / "static"
# Member of the package -> file of ours.
FILES = {"package/dist/abcjs-basic-min.js": "abcjs-basic-min.js", "package/LICENSE.md": "abcjs.LICENSE.md"}


def main(version: str) -> None:
    """Fetch, check, write the files and `vendor.json`."""
    told = _npm("view", f"abcjs@{version}", "dist.integrity", "license", "--json")
    with tempfile.TemporaryDirectory() as folder:
        _npm("pack", f"abcjs@{version}", "--pack-destination", folder, "--json")
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != told["dist.integrity"]:
        sys.exit(f"abcjs {version}: the package is not the one that npm tells of ({found})")
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        for member, name in FILES.items():
            file = package.extractfile(member)
            assert file is not None, f"{member} is missing"
            (STATIC / name).write_bytes(file.read())
    vendored = {
        "name": "abcjs",
        "version": version,
        "licence": told["license"],
        "package": told["dist.integrity"],
        "sha256": {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in FILES.values()},
    }
    (STATIC / "vendor.json").write_text(json.dumps(vendored, indent=2) + "\n")


def _npm(*words: str) -> dict:
    return json.loads(subprocess.run(["npm", *words], check=True, capture_output=True).stdout or "{}")


if __name__ == "__main__":
    main(sys.argv[1])
