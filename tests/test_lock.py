"""The lock: complete, with digests, and what this environment was made from."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries():
    """Each requirement of the lock with the number of its digests."""
    lines = LOCK.read_text().replace("\\\n", " ").splitlines()
    return [(Requirement(DIGEST.sub("", line).strip()), len(DIGEST.findall(line))) for line in lines]


def applies(requirement, extras=("",)):
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


LOCKED = {canonicalize_name(entry.name): entry for entry, _ in entries() if applies(entry)}


def project_requirements(extra):
    """What the package and one of its extras need, extras within it included."""
    for line in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            for inner in requirement.extras:
                yield from project_requirements(inner)
        else:
            yield requirement
    yield from map(Requirement, PROJECT["dependencies"])


def test_every_entry_is_one_version_with_digests_and_torch_is_none():
    assert len(entries()) > 100
    for entry, digests in entries():
        assert [clause.operator for clause in entry.specifier] == ["=="], entry
        assert digests and entry.url is None, entry
    assert not {"torch", "netassay"} & {entry.name for entry, _ in entries()}
    assert "://" not in LOCK.read_text()


def test_the_lock_answers_the_project():
    for requirement in project_requirements("test"):
        if requirement.name == "torch" or not applies(requirement):
            continue
        entry = LOCKED.get(canonicalize_name(requirement.name))
        assert entry, f"{requirement} is not in the lock; run make lock"
        version = next(iter(entry.specifier)).version
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: make lock"


def test_this_environment_is_that_of_the_lock_and_lacks_nothing():
    for name, entry in LOCKED.items():
        assert entry.specifier.contains(metadata.version(name), prereleases=True), f"{entry}: make .venv/.ready"
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if applies(needed) and needed.name != "torch":
                assert canonicalize_name(needed.name) in LOCKED, f"{entry} needs {needed}: make lock"


@pytest.mark.slow
def test_a_file_with_another_digest_is_refused(tmp_path):
    begin = LOCK.read_text().index("iniconfig==")
    lines = LOCK.read_text()[begin:].replace("\\\n", " ").splitlines()[0]
    lock = tmp_path / "requirements.lock"
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", lock]
    for text, code in ((lines, 0), (DIGEST.sub("--hash=sha256:" + "0" * 64, lines), 1)):
        lock.write_text(text + "\n")
        done = subprocess.run([*words, "--dest", tmp_path / str(code)], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not any((tmp_path / "1").glob("*"))
