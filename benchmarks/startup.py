"""`eyeground --help` answers at once: its time against the same interpreter doing nothing."""

import subprocess
import sys

from benchmarks.claim import Claim, seconds

HELP = "import sys; sys.argv = ['eyeground', '--help']; from eyeground.cli.main import main; main()"


def run() -> Claim:
    """Measure both, and say which imports the difference is made of."""

    def call(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)

    ours, nothing = seconds(lambda: call(HELP), repeats=9), seconds(lambda: call("pass"), repeats=9)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", HELP], capture_output=True, text=True, check=True
    ).stderr
    rows = [line.removeprefix("import time:").split("|") for line in told.splitlines()[1:] if line.count("|") == 2]
    totals = {name.strip(): int(total) / 1000 for _, total, name in rows if name.strip() in ("typer", "rich", "click")}
    heavy = [name.strip() for *_, name in rows if name.strip() in ("torch", "numpy", "matplotlib", "pydantic", "timm")]
    made = ", ".join(f"{name} {ms:.0f} ms" for name, ms in totals.items())
    note = f"imports: {made}; heavy libraries loaded: {', '.join(heavy) or 'none'}"
    return Claim("`eyeground --help`", ours * 1000, nothing * 1000, "`python -c pass`", "ms", note)
