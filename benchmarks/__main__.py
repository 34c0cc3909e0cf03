"""Run benchmarks, and write each one's section of RESULTS.md.

make bench                                # all of them
python -m benchmarks intervals startup    # some; the other sections stay
"""

import json
import math
import re
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks.claim import Claim, NotHere

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
NOT_CLAIMS = {"__init__", "__main__", "claim", "ceiling"}
HEAD = """# Speed, as ratios measured in one run

`make bench` makes this page; each section is written when its own command has run. Gain: how many times better ours is
than the reference, which was measured in the same run; below 1 it is worse. Where a machine lacks what a goal was
measured with, the section says so.
"""


def names() -> list[str]:
    """Benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NOT_CLAIMS)


def figure(value: float, unit: str = "") -> str:
    """Write a figure with three digits."""
    return "" if math.isnan(value) else f"{value:.3g} {unit}".rstrip()


def row(claim: Claim) -> str:
    """Write a claim as a row."""
    spread = f" ({min(claim.gains):.3g}-{max(claim.gains):.3g})" if claim.gains else ""
    share = "" if math.isnan(claim.ceiling) else f"{100 * claim.ours / claim.ceiling:.0f}% of {figure(claim.ceiling)}"
    cells = [
        claim.what, figure(claim.ours, claim.unit), f"{figure(claim.reference, claim.unit)}, {claim.against}",
        f"{claim.gain:.3g}{spread}", figure(claim.goal), share, claim.note,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def section(name: str) -> str:
    """Measure in a process of its own, which shares neither memory nor threads with the others; give its section."""
    made = subprocess.run([sys.executable, "-m", "benchmarks", "--one", name], capture_output=True, text=True)
    sys.stderr.write(made.stderr)
    head = f"## {name}\n\n{datetime.now(UTC).date()}, `python -m benchmarks {name}`"
    if made.returncode:
        last = made.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return f"{head}: failed: {last[0]}\n"
    told = json.loads(made.stdout.splitlines()[-1])
    if "not_here" in told:
        return f"{head}: not run: {told['not_here']}\n"
    rows = [row(Claim(**each)) for each in told["claims"]]
    table = [
        "| what | ours | reference | gain | goal | of the ceiling | note |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join([f"{head}\n", told["machine"], "", *table]) + "\n"


def measured(name: str) -> dict[str, object]:
    """Run one benchmark here."""
    from benchmarks.ceiling import machine

    try:
        claims = import_module(f"benchmarks.{name}").run()
    except NotHere as error:
        return {"not_here": str(error)}
    return {"machine": machine(), "claims": [asdict(claim) for claim in claims]}


def sections(text: str) -> dict[str, str]:
    """Take the page apart: name -> its section."""
    return {part.partition("\n")[0]: f"## {part.strip()}\n" for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}


def main(wanted: list[str]) -> int:
    """Measure, print, write."""
    if unknown := [name for name in wanted if name not in names()]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    failed = False
    for name in wanted or names():
        made = section(name)
        failed |= ": failed: " in made.partition("|")[0]
        print(made)
        kept = sections(RESULTS.read_text("utf-8")) | {name: made}
        RESULTS.write_text("\n".join([HEAD, *(kept[each] for each in names() if each in kept)]), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
