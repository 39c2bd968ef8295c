"""Builds the library and the command line tool with cargo, puts them into the wheel, and names its platform.

From the environment: ``CARGO`` (the command), ``ZOARIUM_BUILD_PROFILE`` (default ``release``), ``ZOARIUM_PREBUILT`` (a
library to take instead of building one), ``ZOARIUM_PREBUILT_BINARY`` (the same for the tool).
"""

import os
import pathlib
import shutil
import subprocess
import sysconfig

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = pathlib.Path(__file__).resolve().parent


def crate() -> pathlib.Path:
    """The crate: two folders up in a checkout, inside a source distribution."""
    packed = HERE / "rust"
    return packed if packed.exists() else HERE.parent.parent


def cargo_build(*what: str) -> pathlib.Path:
    """Builds a part of the crate; returns the folder it is in."""
    profile = os.environ.get("ZOARIUM_BUILD_PROFILE", "release")
    command = [os.environ.get("CARGO", "cargo"), "build", "--locked", "--profile", profile, *what]
    subprocess.run(command, cwd=crate(), check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", crate() / "target"))
    return crate() / target / ("debug" if profile == "dev" else profile)


def tool() -> pathlib.Path:
    """The command line tool."""
    prebuilt = os.environ.get("ZOARIUM_PREBUILT_BINARY")
    return pathlib.Path(prebuilt) if prebuilt else cargo_build("--bin", "zoarium") / "zoarium"


def library() -> pathlib.Path:
    """The library, without what only the tool needs."""
    prebuilt = os.environ.get("ZOARIUM_PREBUILT")
    return pathlib.Path(prebuilt) if prebuilt else cargo_build("--lib", "--no-default-features") / "libzoarium.so"


class CustomBuildHook(BuildHookInterface):
    """Runs before a wheel is packed."""

    def initialize(self, version, build_data):
        if self.target_name != "wheel" or version == "editable":
            return
        packed = pathlib.Path(self.directory) / "packed"
        shutil.rmtree(packed, ignore_errors=True)
        packed.mkdir(parents=True)
        # The tool first: building the library afterwards leaves the one without the tool's needs in its place.
        for made, mode in ((tool(), 0o755), (library(), 0o644)):
            place = packed / made.name
            shutil.copyfile(made, place)
            place.chmod(mode)
            build_data["force_include"][str(place)] = f"zoarium/_lib/{made.name}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        # ctypes needs nothing of the interpreter: one wheel serves every CPython and PyPy of a platform.
        build_data["tag"] = f"py3-none-{platform}"
