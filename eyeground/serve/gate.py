"""Files at the door of a model: read, checked, and brought to the squares it sees; or said why not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Pixels, square
from eyeground.data.volumes import chosen, slice_step
from eyeground.images.cut import Cut
from eyeground.images.decode import MAX_BYTES, contents
from eyeground.images.laterality import eye_from_name, reconcile
from eyeground.images.quality import cannot_grade, verdict
from eyeground.images.read import Parcel, fetch, look
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import Eye, Modality
from eyeground.serve.contract import Contract


@dataclass(frozen=True, eq=False)
class Gated:
    """What is known of one file before a network sees it.

    Args:
        name: The file, for tables and messages.
        quality: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        eye: ``"OD"``, ``"OS"``, or ``""`` when not known.
        conflict: Who contradicts whom about the eye; empty when nobody does.
        modality: What the file says it is; ``""`` when it does not.
        squares: What the network will see, one for each B-scan taken; none where nothing can be graded.
        shown: The middle one of them cropped and shrunk, before it became a square; None where there is none.
        problem: Why the file cannot be read at all; empty when it can.
        cut: Which part of the image as it is decoded ``shown`` is; None where there is none.

    Example:
        >>> Gated("a.png", "cannot grade: broken", "", "", "", (), None, "is cut short").graded
        False

    References:
        Our own.
    """

    name: str
    quality: str
    eye: Eye
    conflict: str
    modality: Modality
    squares: tuple[Pixels, ...]
    shown: Pixels | None
    problem: str = ""
    cut: Cut | None = None

    @property
    def graded(self) -> bool:
        """Whether there is something to ask the network about."""
        return bool(self.squares)


def gate_file(path: Path, contract: Contract, *, slices: str | None = None, name: str | None = None) -> Gated:
    """Look at a file or a folder of slices.

    Args:
        path: Where it lies.
        contract: What the model expects.
        slices: Which B-scans of a volume; None = as the contract says.
        name: What it is called; the path when None.

    Returns:
        What was found; a file that cannot be read comes back with its reason.

    Raises:
        ValueError: If ``slices`` is not understood.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> gate_file(Path("nowhere.png"), contract).quality
        'cannot grade: unreadable'

    References:
        Our own.
    """
    step = slice_step(contract.slices if slices is None else slices)
    called = str(path) if name is None else name
    return _gated(
        called, path.name, contract, step, lambda: look(path).slices, lambda number: fetch(path, slice=number)
    )


def gate_bytes(data: bytes, contract: Contract, *, name: str, max_bytes: int = MAX_BYTES) -> Gated:
    """Look at a file that arrived, such as an upload.

    Args:
        data: All of it.
        contract: What the model expects.
        name: What the sender calls it; only used for messages, and to tell the eye.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        As ``gate_file``.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> gate_bytes(b"no image", contract, name="a.png").graded
        False

    References:
        Our own.
    """
    return _gated(
        name,
        name,
        contract,
        slice_step(contract.slices),
        lambda: contents(data, source=name, max_bytes=max_bytes).slices,
        lambda number: Parcel(data, name, number, max_bytes=max_bytes),
    )


def _gated(
    name: str,
    plain: str,
    contract: Contract,
    step: int,
    count: Callable[[], int],
    fetch_slice: Callable[[int | None], Parcel],
) -> Gated:
    """Read the chosen slices; the file's verdict is that of its first slice that can be graded."""
    preprocessing = contract.preprocessing
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px, limit_bytes=0)
    ready: list[tuple[Pixels, Cut]] = []
    words: list[str] = []
    eyes: set[Eye] = set()
    kinds: set[Modality] = set()
    try:
        for number in chosen(count(), step) if step else (None,):
            parcel = fetch_slice(number)
            image = parcel.decode()
            eyes.add(image.eye)
            kinds.add(image.modality)
            words.append(verdict(image, expected=contract.modality) or "good")
            if not cannot_grade(words[-1]):
                ready.append(store.see(parcel, image))
        squares = tuple(square(pixels, preprocessing) for pixels, _ in ready)
    except ImageRefused as refused:
        # Half a volume is no answer.
        reason = refused.sentence if refused.reason == "no_such_slice" else refused.reason
        # The name still tells whose eye it was, so that a patient's line does not say that there was no image.
        return Gated(name, f"cannot grade: {reason}", eye_from_name(plain), "", "", (), None, refused.sentence)
    except Exception as error:  # noqa: BLE001 - a picture that nobody thought of must not cost the others theirs
        problem = f"cannot be looked at ({type(error).__name__}); please report such a file"
        return Gated(name, "cannot grade: failed", eye_from_name(plain), "", "", (), None, problem)
    header, modality = eyes - {""}, kinds - {""}
    claims: dict[str, Eye] = {f"header of {eye}": eye for eye in header} if len(header) > 1 else {}
    side = reconcile({"file header": next(iter(header), ""), **claims, "file name": eye_from_name(plain)})
    return Gated(
        name,
        next((word for word in words if not cannot_grade(word)), words[0]),
        side.eye,
        side.conflict,
        next(iter(modality)) if len(modality) == 1 else "",
        squares,
        ready[len(ready) // 2][0] if ready else None,
        cut=ready[len(ready) // 2][1] if ready else None,
    )
