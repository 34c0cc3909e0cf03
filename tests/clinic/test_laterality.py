"""C1: two-eye cases through the real gate: no image is ever given to the other eye, and every contradiction is held."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from eyeground.clinic.laterality import NOBODY, eye_of
from eyeground.images.retinal_image import Eye
from eyeground.serve.gate import gate_bytes

from .pictures import contract_of, dicom, encoded, photograph

NAMES = {
    "OD": ("P7_OD_1.png", "right.jpg", "img_R_02.png", "右眼.png", "RightEye3.png"),
    "OS": ("P7_OS_1.png", "left.jpg", "img_L_02.png", "左眼.png", "LeftEye3.png"),
    "": ("IMG_0001.png", "scan.png", "a.png"),
}
TAGS = {"OD": "R", "OS": "L", "": ""}
OTHER: dict[Eye, Eye] = {"OD": "OS", "OS": "OD"}
Joining = Callable[[Eye, Eye, str], tuple[Eye, str]]


@dataclass(frozen=True)
class Voices:
    """What request, header and file name say of an image, and which eye it really is."""

    truth: Eye
    request: Eye
    header: Eye
    file_name: Eye

    @property
    def said(self) -> set[Eye]:
        return {self.request, self.header, self.file_name} - {""}


def voices(rng: random.Random, truth: Eye, share: float) -> Voices:
    """Each speaks or not; in a share of the images one of those that speak is wrong, beside one that is right."""
    said: list[Eye] = [truth if rng.random() < 0.6 else "" for _ in range(3)]
    if rng.random() < share:
        wrong, right = rng.sample(range(3), 2)
        said[wrong], said[right] = OTHER[truth], truth
    return Voices(truth, *said)


def counted(joining: Joining, cases: int, *, share: float = 0.3) -> dict[str, int]:
    """Send two-eye cases through the gate, and count what becomes of them."""
    rng = random.Random(11)
    contract = contract_of()
    pixels = {eye: photograph(eye=eye, size_px=96) for eye in OTHER}
    files = {
        (eye, header): dicom(pixels[eye], laterality=TAGS[header]) if header else encoded(pixels[eye])
        for eye in OTHER
        for header in TAGS
    }
    found = dict.fromkeys(("images", "contradictions", "held", "swaps", "unheld", "lost", "nobody"), 0)
    for _ in range(cases):
        for truth in OTHER:
            told = voices(rng, truth, share)
            name = rng.choice(NAMES[told.file_name])
            gated = gate_bytes(files[truth, told.header], contract, name=name)
            eye, sentence = joining(told.request, gated.eye, gated.conflict)
            found["images"] += 1
            found["held"] += bool(sentence)
            found["contradictions"] += len(told.said) > 1
            found["nobody"] += not told.said
            found["swaps"] += eye == OTHER[truth]
            found["unheld"] += len(told.said) != 1 and not sentence
            found["lost"] += len(told.said) == 1 and (eye != truth or bool(sentence))
            assert bool(eye) != bool(sentence)
            assert name not in sentence
    return found


def first_voice(claimed: Eye, reading_eye: Eye, reading_conflict: str) -> tuple[Eye, str]:
    """Mutant: whoever speaks first is believed."""
    eye = claimed or reading_eye
    return (eye, "") if eye else ("", reading_conflict or NOBODY)


def _holds(cases: int) -> None:
    found = counted(eye_of, cases)
    assert found["images"] == 2 * cases
    assert found["contradictions"] > cases / 2
    assert found["held"] == found["contradictions"] + found["nobody"]
    assert (found["swaps"], found["unheld"], found["lost"]) == (0, 0, 0), found


def test_no_image_is_given_to_the_other_eye() -> None:
    _holds(60)


@pytest.mark.slow
def test_no_image_of_a_thousand_cases_is_given_to_the_other_eye() -> None:
    _holds(1000)


def test_who_trusts_the_first_voice_is_caught() -> None:
    found = counted(first_voice, 60)
    assert found["swaps"] > 5
    assert found["unheld"] > 20


@pytest.mark.parametrize(
    ("claimed", "image", "conflict", "eye", "sentence"),
    [
        ("OD", "OD", "", "OD", ""),
        ("OS", "", "", "OS", ""),
        ("", "OD", "", "OD", ""),
        ("", "", "", "", NOBODY),
        ("OD", "OS", "", "", "request says OD, image says OS"),
        ("", "", "file header says OD, file name says OS", "", "file header says OD, file name says OS"),
        ("OD", "", "file header says OD, file name says OS", "",
         "request says OD, file header says OD, file name says OS"),
    ],
)  # fmt: skip
def test_one_voice_or_agreement_gives_the_eye(claimed: Eye, image: Eye, conflict: str, eye: Eye, sentence: str) -> None:
    assert eye_of(claimed, image, conflict) == (eye, sentence)


def test_what_is_no_eye_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 'OD', 'OS' or ''"):
        eye_of("right", "", "")  # type: ignore[arg-type]
