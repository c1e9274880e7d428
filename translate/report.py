"""What came of work on a folder of pictures."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from gan_core.files import write_whole


@dataclass
class Report:
    """What a conversion came to; ``failures``: pictures not read or not written, and why."""

    converted: int = 0
    already: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def write_failures(folder: Path, failures: dict[str, str]) -> Path | None:
    """List the failures of this call in ``failures.jsonl``; without any, an old list goes."""
    path = folder / "failures.jsonl"
    if not failures:
        path.unlink(missing_ok=True)
        return None
    lines = [json.dumps({"file": file, "reason": why}) for file, why in failures.items()]
    write_whole(path, lambda file: file.write("".join(line + "\n" for line in lines).encode()))
    return path
