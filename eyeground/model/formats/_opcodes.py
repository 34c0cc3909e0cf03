"""What a pickle would ask for, told before any of it runs."""

import codecs
import pickletools
from collections import deque
from collections.abc import Collection
from typing import BinaryIO

from eyeground.model.weights import WeightsRefused

# For texts of protocol 0; the codec is a module, and no module can be opened once confined.
codecs.lookup("raw-unicode-escape")

# A checkpoint of a ViT-L with its optimizer needs about thirty thousand.
_MOST = 5_000_000
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_NO_STACK = {"PROTO", "FRAME", "MEMOIZE", *_PUT}


def scan(file: BinaryIO, allowed: Collection[tuple[str, str]]) -> None:
    """Read one pickle's instructions without following any, and refuse what reaches for a forbidden name.

    Args:
        file: Stands where the pickle begins; afterwards, behind it.
        allowed: Module and name of everything that it may ask for.

    Raises:
        WeightsRefused: If it asks for anything else, all of it named at once, or is no whole pickle.

    Example:
        >>> import io
        >>> scan(io.BytesIO(b"cos\\nsystem\\n(S'ls'\\ntR."), {("collections", "OrderedDict")})
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: asks for os.system, which no tensor needs and which could run code: not
        opened

    References:
        CPython's pickletools; the way STACK_GLOBAL takes its two names is that of CPython's pickler.
    """
    forbidden: dict[str, None] = {}
    memo: dict[int, str | None] = {}
    # What the last two instructions that touch the stack put there, where that is a text.
    texts: deque[str | None] = deque([None, None], maxlen=2)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            name = opcode.name
            if count >= _MOST:
                raise WeightsRefused(f"has more than {_MOST:,} pickle instructions, far more than weights need")
            if name == "MEMOIZE":
                memo[len(memo)] = texts[-1]
            elif name in _PUT and isinstance(argument, int):
                memo[argument] = texts[-1]
            asked: tuple[str | None, str | None] | None = None
            if name in ("GLOBAL", "INST"):
                module, _, attribute = str(argument).partition(" ")
                asked = module, attribute
            elif name == "STACK_GLOBAL":
                asked = texts[0], texts[1]
            elif name.startswith("EXT"):
                asked = "copyreg extension", str(argument)
            if asked is not None and asked not in allowed:
                forbidden[".".join(asked) if all(asked) else "a name put together on the way"] = None  # type: ignore[arg-type]
            if name in _TEXT:
                texts.append(str(argument))
            elif name in _GET:
                texts.append(memo.get(int(argument)) if isinstance(argument, int) else None)
            elif name not in _NO_STACK:
                texts.append(None)
    except ValueError as error:
        if isinstance(error, WeightsRefused):
            raise
        raise WeightsRefused(
            f"is no whole pickle ({' '.join(str(error).split())[:100]}): fetch or copy it again"
        ) from None
    if forbidden:
        names = list(forbidden)
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        raise WeightsRefused(
            f"asks for {', '.join(name[:100] for name in names[:20])}{more}, which no tensor needs and which could run "
            "code: not opened"
        )
