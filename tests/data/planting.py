"""Twenty faults of twelve kinds planted in a copy of a real set: ``python -m tests.data.planting ODIR FOLDER``."""

import csv
import io
import json
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageEnhance

COLUMNS = ("file", "label", "patient", "eye", "split")


@dataclass
class Planted:
    """A planted set: where it lies, and for each fault its kind and the files that a finding must name."""

    images: Path
    table: Path
    faults: list[tuple[str, set[str]]] = field(default_factory=list)


def plant(odir: Path, folder: Path, *, per_class: int = 80) -> Planted:
    """Copy some images of fundus-odir3, divided by patient, and plant twenty faults of twelve kinds in the copy."""
    images = folder / "images"
    with (odir / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(0)
    order = {group: rng.random() for group in sorted({row["group"] for row in rows})}
    rows.sort(key=lambda row: order[row["group"]])  # by patient: both eyes of one stay together
    chosen = [row for label in ("cataract", "glaucoma", "normal") for row in rows if row["label"] == label]
    taken = []
    for label in ("cataract", "glaucoma", "normal"):
        taken += [row for row in chosen if row["label"] == label][:per_class]
    groups = sorted({row["group"] for row in taken})
    test = set(rng.sample(groups, len(groups) // 4))
    table = []
    for row in taken:
        target = images / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((odir / "images" / row["file"]).read_bytes())
        split = "test" if row["group"] in test else "train"
        table.append(dict(zip(COLUMNS, (row["file"], row["label"], row["group"], row["eye"], split), strict=True)))
    planted = Planted(images, folder / "table.csv")
    used: set[str] = set()

    def free(label: str | None = None, split: str | None = None) -> dict[str, str]:
        """An image of a patient that nothing was planted on."""
        row = next(
            row
            for row in table
            if row["patient"] not in used and label in (None, row["label"]) and split in (None, row["split"])
        )
        used.add(row["patient"])
        return row

    def note(kind: str, *files: str) -> None:
        planted.faults.append((kind, {str(images / file) for file in files}))

    def add(like: dict[str, str], file: str, **other: str) -> str:
        table.append({**like, "file": file, **other})
        return file

    for cut in (0.5, 0.9):  # 1, 2: truncated
        row = free()
        data = (images / row["file"]).read_bytes()
        (images / row["file"]).write_bytes(data[: int(cut * len(data))])
        note("truncated file", row["file"])
    row = free()  # 3: empty
    (images / row["file"]).write_bytes(b"")
    note("empty file", row["file"])
    row = free()  # 4: a GIF by the name of .jpg
    Image.open(images / row["file"]).convert("P").save(images / row["file"], "GIF")
    note("wrong type of file", row["file"])
    row = free()  # 5: text by the name of .jpg
    (images / row["file"]).write_text("see the other folder\n")
    note("wrong type of file", row["file"])
    row = free()  # 6: a PNG by the name of .jpg
    Image.open(images / row["file"]).save(images / row["file"], "PNG")
    note("wrong file ending", row["file"])
    row = free()  # 7: a row without its file
    (images / row["file"]).unlink()
    note("missing file", row["file"])
    row = free()  # 8: a row twice
    add(row, row["file"])
    note("row twice", row["file"])
    for label in ("normal", "glaucoma"):  # 9, 10: a patient in two splits
        pairs = [r for r in table if r["label"] == label and r["split"] == "train" and r["patient"] not in used]
        row = next(r for r in pairs if sum(o["patient"] == r["patient"] for o in table) > 1)
        used.add(row["patient"])
        row["split"] = "test"
        note("patient in two splits", *(r["file"] for r in table if r["patient"] == row["patient"]))

    def altered(source: str, target: str, *, crop: float, light: float, size: float, quality: int) -> str:
        picture = Image.open(images / source).convert("RGB")
        wide, high = picture.size
        box = (int(wide * crop), int(high * crop), wide - int(wide * crop), high - int(high * crop))
        picture = ImageEnhance.Brightness(picture.crop(box)).enhance(light)
        picture = picture.resize((int(picture.width * size), int(picture.height * size)))
        picture.save(images / target, "JPEG", quality=quality)
        return target

    changes = (
        {"crop": 0.0, "light": 1.0, "size": 1.0, "quality": 70},
        {"crop": 0.0, "light": 1.0, "size": 0.6, "quality": 92},
        {"crop": 0.03, "light": 1.15, "size": 0.9, "quality": 85},
    )
    for number, change in enumerate(changes):  # 11, 12, 13: a near-duplicate in test, as another patient
        row = free(split="train")
        name = f"{row['label']}/n{number}_{row['eye']}.jpg"
        add(row, altered(row["file"], name, **change), patient=f"n{number}", split="test")
        note("same image in two splits", row["file"], name)
    for number, (label, other) in enumerate((("normal", "glaucoma"), ("cataract", "normal"))):  # 14, 15
        row = free(label, "train")
        name = f"{other}/t{number}_{row['eye']}.jpg"
        (images / name).write_bytes((images / row["file"]).read_bytes())
        add(row, name, label=other)
        note("same image under two labels", row["file"], name)
    for label, spelling in (("glaucoma", "Glaucoma"), ("cataract", "cata ract")):  # 16, 17
        row = free(label)
        row["label"] = spelling
        note("label spelling", row["file"])
    row = free()  # 18: the table says the other eye than the name
    row["eye"] = {"left": "right", "right": "left"}[row["eye"]]
    note("left and right contradict", row["file"])
    row = free()  # 19: an identity number as a name
    name = f"{row['label']}/11010119900307451{rng.randrange(10)}_{row['eye']}.jpg"
    (images / row["file"]).rename(images / name)
    row["file"] = name
    note("personal data in file names", name)
    row = free()  # 20: a photographer and a place in the EXIF
    picture = Image.open(images / row["file"])
    exif = picture.getexif()
    exif[0x013B] = "A. Person"
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 14.0, 0.0), 3: "E", 4: (121.0, 28.0, 0.0)})
    out = io.BytesIO()
    picture.save(out, "JPEG", quality="keep", exif=exif)
    (images / row["file"]).write_bytes(out.getvalue())
    note("personal data in headers", row["file"])
    with planted.table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(table)
    return planted


# What else must be said of some planted faults: it is true, so it is no false alarm.
FOLLOWS = {
    "same image in two splits": ("same image under two patients",),
    "same image under two labels": (),
    "patient in two splits": (),
}


def judge(planted: Planted, findings: list[dict[str, object]]) -> tuple[list[bool], list[dict[str, object]]]:
    """Say of each planted fault whether it was named with all its files, and which findings are false alarms."""
    told = [(str(found["kind"]), set(map(str, found["files"]))) for found in findings]  # type: ignore[call-overload]
    named = [any(kind == known and files <= seen for known, seen in told) for kind, files in planted.faults]
    true = [(kind, files) for kind, files in planted.faults]
    true += [(other, files) for kind, files in planted.faults for other in FOLLOWS.get(kind, ())]
    false = [
        found
        for found, (kind, files) in zip(findings, told, strict=True)
        if found["severity"] != "note" and not any(kind == known and files & of for known, of in true)
    ]
    return named, false


def words(planted: Planted) -> list[str]:
    """The command's arguments for a planted set."""
    columns = ("--group-column", "patient", "--eye-column", "eye", "--split-column", "split")
    return ["doctor", str(planted.images), "--table", str(planted.table), *columns, "--json"]


if __name__ == "__main__":
    planted = plant(Path(sys.argv[1]), Path(sys.argv[2]))
    command = [sys.executable, "-c", "from eyeground.cli.main import main; main()", *words(planted)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = json.loads(answer.stdout.splitlines()[-1])["findings"]
    named, false = judge(planted, findings)
    lines = [
        f"{'named ' if found else 'MISSED'} {kind}: {', '.join(sorted(Path(file).name for file in files))}"
        for (kind, files), found in zip(planted.faults, named, strict=True)
    ]
    kinds = {kind for kind, _ in planted.faults}
    lines.append(
        f"{sum(named)} of {len(named)} named, {len(kinds)} kinds; {len(false)} false; exit {answer.returncode}"
    )
    lines += [f"false: {each['severity']} {each['kind']}: {each['sentence']} {each['files']}" for each in false]
    lines += [f"note: {each['kind']}: {each['sentence']}" for each in findings if each["severity"] == "note"]
    sys.stdout.write("\n".join(lines) + "\n")
