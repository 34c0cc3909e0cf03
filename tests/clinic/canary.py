"""Patients who do not exist: every word about one is told apart from whatever else is written."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .opened import encoded, photo

# Every word of a canary holds one of these; long enough that no hash and no time of day holds one by chance.
STEMS = ("金丝雀", "Quillfeather", "861397700", "PIDCNRY", "cnryfile")
_FORMS = [
    form
    for stem in STEMS
    for form in (stem, json.dumps(stem)[1:-1], quote(stem), stem.encode().decode("latin-1"), encoded(stem.encode()))
]
WORDS = re.compile("|".join(re.escape(form) for form in dict.fromkeys(_FORMS)), re.IGNORECASE)


@dataclass(frozen=True)
class Canary:
    """A patient, and the file names of two photographs."""

    number: int

    @property
    def name(self) -> str:
        """In Chinese or English."""
        return f"金丝雀{self.number:04}" if self.number % 2 else f"Quillfeather {self.number:04}"

    @property
    def file(self) -> str:
        """What a camera called the file, without its end."""
        return f"金丝雀{self.number:04}_cnryfile" if self.number % 2 else f"cnryfile{self.number:04}"

    @property
    def person(self) -> dict[str, Any]:
        """As a message has it."""
        phone = f"+861397700{self.number:04}"
        return {"patient_id": f"PIDCNRY{self.number}", "name": self.name, "phone": phone, "age": 50}

    def message(self, photos: Sequence[Any] | None = None, **more: Any) -> bytes:
        """A patient message."""
        told = [
            {"name": f"{self.file}_{eye}.png", "eye": eye, "data": encoded(photo(f"{self.number} {eye}"))}
            for eye in ("OD", "OS")
        ]
        person = {**self.person, "photos": told if photos is None else list(photos)}
        return _json({"message_id": f"m{self.number}", "Patient": person, **more})

    def bad(self) -> list[bytes]:
        """Messages that cannot be taken, each with the patient in another place."""
        name, file = self.name, self.file
        return [
            name.encode(), f'{{"message_id": "{name}'.encode(), name.encode("gbk", "replace"), _json([self.person]),
            _json({name: self.person}), _json({"message_id": name, "Patient": self.person}),
            self.message([f"../{file}.jpg"]), self.message([f"{file}_missing.jpg"]), self.message([f"/etc/{file}"]),
            self.message([{"url": f"http://{file}.example/{name}"}]), self.message([{"data": f"{name}?"}]),
            self.message([{"path": f"{file}.png", "eye": name}]), self.message([{"path": f"{file}\x00.png"}]),
            self.message([], vision_data={"left_eye": name, name: name}), self.message([], screening_time=name),
            b'{"message_id": "x", "' + name.encode() + b'": 1, "' + name.encode() + b'": 2}',
            _json({"id": self.number, "osFundusImg": f"{file}.jpg", "odFundusImg": [name]}),
            _json({"id": name, "osFundusDisease": self.person}),
        ]  # fmt: skip


def _json(told: Any) -> bytes:
    """JSON as people write it."""
    return json.dumps(told, ensure_ascii=False).encode()
