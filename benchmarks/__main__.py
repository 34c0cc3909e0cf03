"""Run every benchmark and write RESULTS.md: `make bench`."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_CLAIMS = {"__init__", "__main__", "claim"}


def main() -> None:
    """Measure, print, write."""
    lines = [
        "# Speed, as ratios measured in one run",
        "",
        f"{datetime.now(UTC).date()}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}; `make bench` makes this page.",
        "",
        "| what | ours | reference | ratio | note |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem not in NOT_CLAIMS:
            claim = import_module(f"benchmarks.{path.stem}").run()
            figures = f"{claim.ours:.3g} {claim.unit} | {claim.reference:.3g} {claim.unit}, {claim.against}"
            what = f"{claim.what} (`{path.name}`)"
            lines.append(f"| {what} | {figures} | {claim.ratio:.3g} | {claim.note} |")
            print(lines[-1], file=sys.stderr)
    (FOLDER / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
