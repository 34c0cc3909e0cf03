"""What ``clinic up --demo`` needs besides the service: a model learned on phantoms, accounts, phantom patients."""

import json
import shutil
import sys
from contextlib import redirect_stdout
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from eyeground.cli.clinic_messages import known_case, send_bodies
from eyeground.cli.clinic_people import NewAccount
from eyeground.cli.config_file import load_config
from eyeground.cli.console import counting, tell
from eyeground.cli.experiment import carry_out
from eyeground.cli.packing import export_run
from eyeground.clinic.service import Service
from eyeground.clinic.uploads import message_of
from eyeground.data.phantom import draw_fundus, write_set
from eyeground.images.retinal_image import Eye
from eyeground.serve.bundle import is_bundle

ACCOUNTS: Final = (
    NewAccount("admin", "admin", keeps=True),
    NewAccount("li", "doctor", "Dr Li (demonstration)", keeps=True),
    NewAccount("chen", "operator", keeps=True),
    NewAccount("site", "site", site="default"),
)
DISEASES: Final = (
    "normal", "dr1", "dr2", "dr3", "dr4", "glaucoma", "drusen", "csc", "rp", "disc_swelling", "rvo",
)  # fmt: skip
_PATIENTS: Final = 1000
_SEED: Final = 1
_TRAINED_PX: Final = 128
_SHOWN_PX: Final = 512
# Right eye, left eye, age; "dark" is a photograph that nobody can grade.
VISITS: Final = (
    ("dr2", "dr1", 58),
    ("normal", "normal", 46),
    ("glaucoma", "normal", 67),
    ("dr4", "dr3", 61),
    ("rvo", "dark", 72),
    ("normal", "drusen", 70),
)


def demo_bundle(folder: Path) -> Path:
    """Give the demonstration's model; at the first call it is trained, for some minutes, and kept.

    Args:
        folder: Where it lies; what a killed training left there is thrown away.

    Returns:
        The bundle.

    Raises:
        Interrupted: If a person stopped the training; the next call begins it anew.
        OSError: If the disk is full.

    References:
        ``clinic_demo.yaml`` beside this file.
    """
    bundle = folder / "phantom-model"
    if is_bundle(bundle):
        return bundle
    work = folder / ".training"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tell("The demonstration's model is trained on phantoms, once; the lines below say how long it will take.")
    with counting("drawing phantoms", _PATIENTS * 2) as done:
        write_set(
            work / "phantoms", modality="fundus", diseases=DISEASES, patients=_PATIENTS, seed=_SEED,
            size_px=_TRAINED_PX, progress=done,
        )  # fmt: skip
    images = work / "phantoms"
    words = [
        f"data={{path: {json.dumps(str(images / 'images'))}, table: {json.dumps(str(images / 'labels.csv'))}, "
        "group: patient, name: phantoms}",
        f"out={work / 'phantom-model'}",
    ]
    config = load_config(Path(__file__).with_name("clinic_demo.yaml"), words)
    again = "eyeground clinic up --demo"
    outcome = carry_out(config, name="phantom-model", resume=None, again=f"{again} (it begins anew)")
    with redirect_stdout(sys.stderr):  # stdout is the caller's
        export_run(
            outcome.folder, targets=(), out=bundle, precision="fp32", tolerance=0.01, images=64, titles=None,
            modality="", cases=False, uncalibrated=False, threads=1, as_json=False,
        )  # fmt: skip
    shutil.rmtree(work)
    return bundle


def send_phantoms(service: Service) -> int:
    """Send phantom patients through the queue, each once.

    Args:
        service: The service.

    Returns:
        How many were sent.

    Raises:
        TransportLost: If the queue cannot be reached.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    bodies = [
        phantom_visit(number)
        for number in range(len(VISITS))
        if not known_case(service, queue="screening", request_id=_request(number))
    ]
    send_bodies(service, bodies, queue="screening")
    return len(bodies)


def phantom_visit(number: int) -> bytes:
    """Draw a phantom patient's visit.

    Args:
        number: Which of ``VISITS``, from 0.

    Returns:
        A patient message.

    Example:
        >>> b'"message_id":"phantom-1"' in phantom_visit(0)
        True

    References:
        Our own.
    """
    right, left, age = VISITS[number]
    eyes: tuple[tuple[Eye, str], ...] = (("OD", right), ("OS", left))
    files = [(f"phantom-{number + 1}_{eye}.jpg", _photograph(disease, eye, number)) for eye, disease in eyes]
    patient = {
        "patient_id": f"PHANTOM-{number + 1}",
        "name": f"Phantom {number + 1}, no person 幻影",
        "age": age,
        "gender": "other",
        "vision_data": {
            "right_eye": "0.8",
            "left_eye": "0.6",
            "intraocular_pressure": {"right": 16 + number, "left": 17},
        },
    }
    return message_of(files, message_id=_request(number), patient=patient)


def _request(number: int) -> str:
    """Id of a phantom's request."""
    return f"phantom-{number + 1}"


def _photograph(disease: str, eye: Eye, number: int) -> bytes:
    """A phantom as a camera's file."""
    dark = disease == "dark"
    drawn = draw_fundus("normal" if dark else disease, seed=9000 + number, eye=eye, size_px=_SHOWN_PX)
    pixels = drawn.image.pixels
    image = Image.fromarray((pixels * 0.04).astype(pixels.dtype) if dark else pixels)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
