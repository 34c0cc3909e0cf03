"""Kinds of bad message by name, and what every one of them is held to."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from eyeground.clinic.refusal import Refused, codes

CANARY: Final = "Zq7Canary王小明"
Reader = Callable[[bytes], object]

GOOD: Final[Mapping[str, Mapping[str, Any]]] = {
    "check": {"id": 17, "osFundusImg": "17/os.jpg", "odFundusImg": "17/od.jpg", "osAnteriorImg": None},
    "report": {"id": "r-1", "osFundusFeatures": "微血管瘤,硬性渗出", "odAnteriorDisease": "白内障"},
    "screening": {
        "message_id": "m-1",
        "Patient": {
            "patient_id": "P1",
            "name": CANARY,
            "age": 56,
            "gender": "男",
            "phone": "13800000000",
            "photos": ["P1_OD.jpg", {"data": "/9j/4AAQ", "eye": "OS", "name": "P1_OS.jpg"}],
            "screening_records": [
                {
                    "screening_time": "2025-11-02",
                    "notes": "两年前查过",
                    "vision_data": {"left_eye": "0.8", "intraocular_pressure": {"left": 17}},
                    "results": {"left": "NPDR"},
                }
            ],
        },
        "vision_data": {
            "left_eye": 0.8,
            "right_eye": {"value": "4.9", "notation": "5-mark", "correction": "裸眼"},
            "intraocular_pressure": {"left": 17.5, "right": {"value": 18, "method": "NCT"}},
        },
    },
}
ID_OF: Final = {"check": "id", "report": "id", "screening": "message_id"}
TEXT_OF: Final = {"check": ("odFundusImg",), "report": ("osFundusFeatures",), "screening": ("Patient", "name")}


def good(queue: str) -> dict[str, Any]:
    """A fresh copy of a message that is taken."""
    copy: dict[str, Any] = json.loads(json.dumps(GOOD[queue]))
    return copy


def put(message: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Change one field."""
    inner: Any = message
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return message


def raw(message: object) -> bytes:
    """Plain JSON."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _field(queue: str, *path: str | int, value: object) -> bytes:
    """A good message with one field changed."""
    return raw(put(good(queue), path, value))


def _spliced(queue: str, literal: str) -> bytes:
    """A good message whose text field is something that no JSON writer writes."""
    return _field(queue, *TEXT_OF[queue], value="@@").replace(b'"@@"', literal.encode())


def _whole(queue: str) -> dict[str, bytes]:
    """What can be wrong with any message."""
    body = raw(good(queue))
    canary = json.dumps(CANARY, ensure_ascii=False)
    kinds = {
        "nothing": b"",
        "blanks": b" \n\t ",
        "one brace": b"{",
        "half": body[: len(body) // 2],
        "all but the end": body[:-1],
        "something after": body + b"x",
        "twice": body + body,
        "a list": b"[" + body + b"]",
        "a text": canary.encode(),
        "a number": b"17",
        "null": b"null",
        "true": b"true",
        "an empty object": b"{}",
        "an empty list": b"[]",
        "latin 1": '{"id": "é"}'.encode("latin-1"),
        "gb18030": f'{{"id": {canary}}}'.encode("gb18030"),
        "utf-16": body.decode().encode("utf-16"),
        "utf-32": body.decode().encode("utf-32"),
        "byte order mark": b"\xef\xbb\xbf" + body,
        "overlong": b'{"id": "\xc0\xaf"}',
        "a half character": b'{"id": "\xed\xa0\x80"}',
        "binary": bytes(range(256)),
        "zeros": bytes(4096),
        "an image": b"\xff\xd8\xff\xe0" + bytes(500),
        "xml": f"<id>{CANARY}</id>".encode(),
        "a form": f"id=17&name={CANARY}".encode(),
        "yaml": b"id: 17",
        "single quotes": body.replace(b'"', b"'"),
        "a comment": b"/* */" + body,
        "a comma too many": body[:-1] + b",}",
        "no quotes": b"{id: 17}",
        "a pickle": b"\x80\x04\x95\x10\x00\x00\x00",
        "deep lists": b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "deep objects": b'{"id":' * 5000 + b"1" + b"}" * 5000,
        "deep and open": b"[" * 100_000,
        "deep in something unknown": body[:-1] + b',"more": ' + b"[" * 40 + b"]" * 40 + b"}",
        "many values": body[:-1] + b',"more": [' + b"1," * 30_000 + b"1]}",
        "many keys": body[:-1] + b"," + b",".join(b'"k%d":1' % n for n in range(30_000)) + b"}",
        "a key twice": body[:-1] + b',"' + ID_OF[queue].encode() + b'": "other"}',
        "an unknown key twice": body[:-1] + b',"x": 1, "x": 2}',
        "an inner key twice": body[:-1] + b',"x": {"y": 1, "y": 2}}',
        "nan": _spliced(queue, "NaN"),
        "infinity": _spliced(queue, "-Infinity"),
        "nan in something unknown": body[:-1] + b',"more": NaN}',
        "a huge fraction": body[:-1] + b',"more": 1e999}',
        "a huge whole number": body[:-1] + b',"more": ' + b"9" * 5000 + b"}",
        "20 digits": body[:-1] + b',"more": 12345678901234567890}',
        "a raw control character": _spliced(queue, '"a\x01b"'),
        "a raw line break": _spliced(queue, '"a\nb"'),
        "a bad escape": _spliced(queue, '"\\x41"'),
        "half an escape": _spliced(queue, '"\\u12"'),
        "a zero": _spliced(queue, '"a\\u0000b"'),
        "a bell": _spliced(queue, f'"{CANARY}\\u0007"'),
        "half a pair": _spliced(queue, '"\\ud800"'),
        "the other half": _spliced(queue, '"a\\udfff"'),
        "a leading zero": body[:-1] + b',"more": 017}',
        "a plus": body[:-1] + b',"more": +1}',
        "hexadecimal": body[:-1] + b',"more": 0x10}',
        "true of Python": body[:-1] + b',"more": True}',
    }
    identity = ID_OF[queue]
    for kind, value in {
        "missing": None, "empty": "", "blank": "  ", "true": True, "a fraction": 1.5, "a list": ["a"],
        "an object": {"a": CANARY}, "of letters of another script": CANARY, "with a slash": "../../etc", "too long":
        "a" * 129, "with a zero": "a\0", "with a break": "a\r\nb", "sql": "1' OR '1'='1", "html": "<b>1</b>",
    }.items():  # fmt: skip
        kinds[f"id {kind}"] = _field(queue, identity, value=value)
    without = good(queue)
    del without[identity]
    kinds["no id"] = raw(without)
    kinds["id in another case"] = raw({**without, identity.upper(): "17"})
    return kinds


def _check() -> dict[str, bytes]:
    """What can be wrong with a check."""
    images = ("osFundusImg", "odFundusImg", "osAnteriorImg", "odAnteriorImg")
    kinds = {
        "no image": raw({"id": 17}),
        "only empty images": raw({"id": 17, **dict.fromkeys(images, "")}),
        "only null images": raw({"id": 17, **dict.fromkeys(images)}),
        "only blank images": raw({"id": 17, **dict.fromkeys(images, "  ")}),
        "images in another case": raw({"id": 17, "OSFUNDUSIMG": "a.jpg"}),
        "too long": raw({"id": 17, "osFundusImg": "a.jpg", "more": "x" * 2**20}),
    }
    for kind, value in {
        "a number": 3, "true": True, "false": False, "zero": 0, "a list": ["a.jpg"], "an object": {"path": "a.jpg"},
        "leads out": f"../{CANARY}.jpg", "leads out later": "a/b/../../../c.jpg", "is a folder": "a/",
        "backslash": "a\\b",
        "a drive": "C:/a.jpg", "a share": "\\\\host\\a.jpg", "an address": f"http://host/{CANARY}.jpg", "file": "file:///a",
        "bytes": "data:image/png;base64,AAAA", "protocol-relative": "//host/a.jpg", "a zero": "a\0.jpg",
        "a break": "a\nb", "very long": "a/" * 5000 + "b.jpg",
    }.items():  # fmt: skip
        kinds[f"image {kind}"] = _field("check", "odFundusImg", value=value)
    return kinds


def _report() -> dict[str, bytes]:
    """What can be wrong with a report."""
    kinds = {
        "no text": raw({"id": "r"}),
        "only empty texts": raw({"id": "r", "osFundusFeatures": "", "odFundusFeatures": None}),
        "too long": raw({"id": "r", "osFundusFeatures": "a", "more": "x" * 2**20}),
    }
    for kind, value in {
        "a number": 3, "true": True, "a list": [CANARY], "an object": {CANARY: 1}, "far too long": CANARY * 500,
        "turned around": f"a\u202e{CANARY}", "a control character": f"a\u0085{CANARY}",
    }.items():  # fmt: skip
        kinds[f"text {kind}"] = _field("report", "odFundusDisease", value=value)
    return kinds


def _screening() -> dict[str, bytes]:
    """What can be wrong with a patient message."""
    photos: dict[str, object] = {
        "missing": None, "none": [], "by no eye": {}, "by an unknown eye": {"third_eye": "a.jpg"}, "a text": "a.jpg",
        "a number": 3, "of numbers": [1, 2], "of lists": [["a.jpg"]], "of nothing": [None, ""], "an empty object": [{}],
        "an address": [f"https://h/{CANARY}.jpg"], "by url": [{"url": f"https://h/{CANARY}.jpg"}],
        "by url that is none": [{"url": 3}], "leads out": [f"../../{CANARY}"], "no base64": [{"data": f"{CANARY}!"}],
        "junk in base64": [{"data": "/9j/!?4AAQ"}],
        "cut base64": [{"data": "/9j"}], "empty bytes": [{"data": " "}], "bytes of numbers": [{"data": [255, 216]}],
        "path and bytes": [{"path": "a.jpg", "data": "/9j/4AAQ"}], "a path that is a number": [{"path": 3}],
        "an unknown eye": [{"path": "a.jpg", "eye": CANARY}], "an eye that is a number": [{"path": "a.jpg", "eye": 1}],
        "two eyes": {"left_eye": {"path": "a.jpg", "eye": "OD"}},
        "an unknown part": [{"path": "a.jpg", "part": "knee"}],
        "a name of a list": [{"path": "a.jpg", "name": ["b"]}], "a very long name": [{"path": "a", "name": "n" * 300}],
        "a name with a zero": [{"path": "a.jpg", "name": "a\0"}], "far too many": ["a.jpg"] * 1001,
    }  # fmt: skip
    kinds = {f"photos {kind}": _field("screening", "Patient", "photos", value=value) for kind, value in photos.items()}
    person: dict[tuple[str, str], object] = {
        ("patient_id", "missing"): None, ("patient_id", "empty"): "", ("patient_id", "blank"): " ",
        ("patient_id", "true"): True, ("patient_id", "a list"): [CANARY], ("patient_id", "too long"): "7" * 129,
        ("name", "a number"): 3, ("name", "an object"): {CANARY: CANARY}, ("name", "too long"): CANARY * 50,
        ("name", "two lines"): f"{CANARY}\nb", ("age", "negative"): -1, ("age", "too old"): 151,
        ("age", "words"): CANARY,
        ("age", "a fraction"): 5.5, ("age", "true"): True, ("age", "a list"): [5], ("gender", "unknown word"): CANARY,
        ("gender", "a number"): 1, ("phone", "a list"): [1], ("phone", "too long"): "1" * 41, ("phone", "true"): True,
        ("screening_records", "a text"): CANARY, ("screening_records", "of texts"): [CANARY],
        ("screening_records", "an object"): {"a": 1}, ("screening_records", "far too many"): [{}] * 201,
    }  # fmt: skip
    kinds |= {
        f"{name} {kind}": _field("screening", "Patient", name, value=value) for (name, kind), value in person.items()
    }
    record: dict[tuple[str, str], object] = {
        ("screening_time", "words"): CANARY, ("screening_time", "a number"): 20251102,
        ("screening_time", "impossible"): "2025-02-30", ("notes", "a list"): [CANARY],
        ("notes", "too long"): CANARY * 500, ("notes", "a zero"): "a\0", ("vision_data", "a text"): CANARY,
        ("results", "a number"): 3,
        ("results", "nested"): {CANARY: {CANARY: CANARY}}, ("results", "a bad name"): {f"{CANARY}\0": "a"},
    }  # fmt: skip
    for (name, kind), value in record.items():
        kinds[f"record {name} {kind}"] = _field("screening", "Patient", "screening_records", 0, name, value=value)
    vision: dict[tuple[str, str], object] = {
        ("left_eye", "words"): CANARY, ("left_eye", "between two scales"): 2.5, ("left_eye", "true"): True,
        ("left_eye", "a list"): [1], ("left_eye", "an unknown notation"): {"value": "0.8", "notation": CANARY},
        ("left_eye", "another notation"): {"value": "0.8", "notation": "5-mark"},
        ("left_eye", "an unknown correction"): {"value": "0.8", "correction": CANARY},
        ("left_eye", "nested"): {"value": {"value": 1}}, ("intraocular_pressure", "a number"): 17,
        ("intraocular_pressure", "negative"): {"left": -1}, ("intraocular_pressure", "far too high"): {"left": 500},
        ("intraocular_pressure", "words"): {"left": CANARY}, ("intraocular_pressure", "true"): {"right": True},
        ("intraocular_pressure", "a bad time"): {"right": {"value": 15, "time": CANARY}},
    }  # fmt: skip
    kinds |= {
        f"vision {name} {kind}": _field("screening", "vision_data", name, value=v) for (name, kind), v in vision.items()
    }
    kinds["vision_data a list"] = _field("screening", "vision_data", value=[1])
    kinds["vision_data twice"] = _field("screening", "Patient", "vision_data", value={})
    kinds["screening_time words"] = _field("screening", "screening_time", value=CANARY)
    for kind, value in {"missing": None, "a text": CANARY, "a list": [CANARY], "empty": {}}.items():
        kinds[f"Patient {kind}"] = _field("screening", "Patient", value=value)
    kinds["Patient and patient"] = _field("screening", "patient", value={"patient_id": CANARY})
    kinds["message_id a number"] = _field("screening", "message_id", value=17)
    return kinds


def kinds() -> dict[tuple[str, str], bytes]:
    """Every kind, by queue and name."""
    own = {"check": _check(), "report": _report(), "screening": _screening()}
    return {(queue, kind): body for queue in GOOD for kind, body in {**_whole(queue), **own[queue]}.items()}


FIELDS: Final[Mapping[str, tuple[tuple[str | int, ...], ...]]] = {
    "check": (("id",), ("osFundusImg",), ("odFundusImg",), ("osAnteriorImg",), ("odAnteriorImg",)),
    "report": (("id",), ("osFundusFeatures",), ("odFundusFeatures",), ("osAnteriorDisease",), ("odFundusDisease",)),
    "screening": (
        ("message_id",), ("Patient", "patient_id"), ("Patient", "name"), ("Patient", "age"), ("Patient", "gender"),
        ("Patient", "phone"), ("Patient", "photos", 0), ("Patient", "photos", 1, "data"),
        ("Patient", "photos", 1, "eye"),
        ("Patient", "screening_records", 0, "notes"), ("Patient", "screening_records", 0, "screening_time"),
        ("vision_data", "left_eye"), ("vision_data", "right_eye", "value"), ("vision_data", "right_eye", "notation"),
        ("vision_data", "intraocular_pressure", "left"), ("vision_data", "intraocular_pressure", "right", "value"),
    ),
}  # fmt: skip


def variant(queue: str, body: bytes, random_: random.Random) -> bytes:
    """A bad message made a little different, or a good one made bad, in one of very many ways; never a good one."""
    choice = random_.randrange(8)
    blanks = bytes(random_.choices(b" \t\r\n", k=random_.randrange(1, 40)))
    if choice == 0:
        return blanks + body + blanks
    if choice == 1:
        return b"[" * random_.randrange(1, 9) + body
    if choice == 2:
        return body + random_.randbytes(random_.randrange(1, 9)) + b"\x00"
    if choice == 3:
        return body[: random_.randrange(len(body) + 1)] + b"{"
    message = good(queue)
    for place in random_.sample(FIELDS[queue], k=random_.randrange(1, 4)):
        letters = "".join(random_.choices("ab眼睛 \u00e9\u3000", k=random_.randrange(1, 20)))
        bad = [[letters], [random_.random()], True, False, f"{CANARY}\0{letters}", letters + "\u202e", CANARY * 600]
        put(message, place, random_.choice(bad))
    message |= {f"x{number}": random_.random() for number in range(random_.randrange(4))}
    return json.dumps(message, ensure_ascii=bool(choice % 2)).encode()


def verdict(read: Reader, body: bytes) -> str:
    """What is wrong with how a reader answers a bad message; empty when it refuses it as it should."""
    try:
        read(body)
    except Refused as refused:
        return _fault(refused)
    except BaseException as error:  # noqa: BLE001 - whatever else it is, it would kill a worker
        return f"raised {type(error).__name__}"
    return "was taken"


def _fault(refused: Refused) -> str:
    """What is wrong with a refusal."""
    told = f"{refused}\n{json.dumps(refused.to_json(), ensure_ascii=False)}"
    if not refused.problems:
        return "says nothing"
    if any(problem.code not in codes() for problem in refused.problems):
        return "has a code of its own"
    if any(not each["en"] or not each["zh"] for each in refused.to_json()):
        return "lacks a language"
    if CANARY in told or "Canary" in told or "王小明" in told:
        return "repeats what was sent"
    return "is far too long" if len(told) > 100_000 else ""
