"""What this machine offers the toolkit, and what stands in its way."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("torch", "albumentations", "kornia", "numpy", "safetensors"),
    *("pydantic", "tomlkit", "typer", "rich", "filelock"),
)
CV2_WHEELS = ("opencv-python", "opencv-python-headless")


def examine() -> tuple[dict[str, str], list[str]]:
    """Facts by name, and sentences that say what is wrong and how to mend it."""
    facts = {"python": platform.python_version(), "system": platform.platform()}
    complaints: list[str] = []
    facts |= {name: _version(name) for name in PACKAGES}
    complaints += [
        f"{name} is not installed: pip install -c constraints.txt {name}"
        for name in PACKAGES
        if facts[name] == "missing"
    ]
    _examine_cv2(facts, complaints)
    if facts["torch"] != "missing":
        _examine_torch(facts)
    facts["free disk here"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    return facts, complaints


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _examine_cv2(facts: dict[str, str], complaints: list[str]) -> None:
    """Two wheels write one folder: the one written last is live, and removing either guts it."""
    installed = {name: _version(name) for name in CV2_WHEELS}
    facts |= installed
    mend = "pip install --force-reinstall --no-deps -c constraints.txt opencv-python"
    try:
        import cv2

        live = str(cv2.__version__)
    except ImportError as error:
        facts["cv2"] = "does not import"
        complaints.append(
            f"cv2 does not import ({error}): on Debian and Ubuntu, apt-get install libgl1 "
            f"libglib2.0-0; elsewhere {mend}-headless"
        )
        return
    except AttributeError:
        facts["cv2"] = "is gutted"
        complaints.append(f"cv2 is gutted, as when one of its two wheels was removed: {mend}")
        return
    wheel = "opencv-python, with windows" if _has_windows(cv2) else "opencv-python-headless"
    facts["cv2"] = f"{live} from {wheel}"
    versions = {v for v in installed.values() if v != "missing"}
    if len(versions) > 1:
        complaints.append(
            f"the two cv2 wheels differ in version ({' and '.join(versions)}): {mend}"
        )


def _has_windows(cv2: object) -> bool:
    """Only the wheel with windows was built with a GUI."""
    information: str = cv2.getBuildInformation()  # type: ignore[attr-defined]
    line = next((row for row in information.splitlines() if "GUI:" in row), "")
    return "NONE" not in line


def _examine_torch(facts: dict[str, str]) -> None:
    import torch

    from gan_core.precision import resolve

    facts["cpu threads"] = str(torch.get_num_threads())
    devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    for name in devices:
        device = torch.device(name)
        title = torch.cuda.get_device_name(device) if device.type == "cuda" else name
        facts[f"device {name}"] = f"{title}, auto precision is {resolve('auto', device)}"
