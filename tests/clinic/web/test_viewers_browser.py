"""The viewers in a real browser: an earlier visit beside this one, and a heat map over the slice it belongs to."""

from io import BytesIO

import pytest
from PIL import Image

from eyeground.clinic.blobs.store import digest_of
from eyeground.data.phantom import draw_fundus

from ...browser import Browser, browser_needed
from ..opened import encoded, work_off
from .open_page import Seen, served, sign_in
from .test_case_browser import PERSON, case_of, look, opened

pytestmark = browser_needed
PAGES = 3


def pressed(browser: Browser, eye: str, *, to: tuple[int, int] = (0, 0)) -> None:
    """Press a viewer with the mouse, and drag."""
    box = f"document.querySelector('.eye[data-eye={eye}] .stage').getBoundingClientRect()"
    x, y = look(browser, f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    browser.do("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    if any(to):
        browser.do("Input.dispatchMouseEvent", type="mouseMoved", x=x + to[0], y=y + to[1], button="left", buttons=1)
    browser.do(
        "Input.dispatchMouseEvent", type="mouseReleased", x=x + to[0], y=y + to[1], button="left", clickCount=1
    )  # fmt: skip


def test_pressing_in_a_viewer_leaves_an_earlier_visit_where_it_is(browser: Browser, seen: Seen) -> None:
    case_of(seen, "m1", od="normal")
    case_id = case_of(seen, "m2")
    other = "document.querySelector('.eye[data-eye=OS]')"
    state = f"[{other}.classList.contains('past'), {other}.querySelector('img').src, {other}.dataset.scale]"
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        own = look(browser, f"{other}.querySelector('img').src")
        browser.press("v")
        browser.until(f"{other}.classList.contains('past') && {other}.querySelector('img').src !== '{own}'")
        browser.press("+", "+")
        before = look(browser, state)
        fetched = "performance.getEntriesByType('resource').filter(each => each.name.includes('/images/')).length"
        asked = look(browser, fetched)
        for eye in ("OS", "OD", "OS"):
            pressed(browser, eye, to=(30, 20))
            browser.evaluate(f"document.querySelector('.eye[data-eye={eye}] .stage').focus()")
            browser.evaluate("new Promise((done) => setTimeout(done, 200))")
            assert look(browser, state) == before, eye
            assert look(browser, "document.querySelector('.eye.active').dataset.eye") == "OD"
        assert look(browser, fetched) == asked, "no picture is asked for anew"
        # A grade is still the active eye's.
        browser.press("1")
        assert look(browser, "document.querySelector('[data-finding=DR] input:checked').name") == "fundus/OD.DR"
        browser.press("z", "e")
        browser.until("document.querySelector('.eye[data-eye=OD]').classList.contains('past')")
        assert browser.complaints() == []


def volume(seen: Seen) -> dict[str, str]:
    """A file of several pages; a model has looked at the middle one."""
    pages = [
        Image.fromarray(draw_fundus("dr2", seed=40 + page, eye="OD", size_px=256).image.pixels) for page in range(PAGES)
    ]
    out = BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    seen.said[digest_of(out.getvalue())] = {"DR": 2}
    return {"eye": "OD", "name": "volume_OD.tif", "data": encoded(out.getvalue())}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_heat_map_lies_over_the_slice_it_belongs_to_alone(browser: Browser, seen: Seen, language: str) -> None:
    photos = [volume(seen), seen.photo("normal", seed=32, eye="OS")]
    case_id = seen.send("m3", patient=PERSON, photos=photos)
    work_off(seen.service, seen.graders)
    over = "!document.querySelector('.eye[data-eye=OD] canvas').hidden"
    beside = "!document.querySelector('.eye[data-eye=OS] canvas').hidden"
    why = "no heat map of this slice" if language == "en" else "该层面没有热力图"
    said = "document.querySelector('#heat-now em').textContent"
    title = "document.querySelector('[data-tool=heat]').title"
    number = "document.querySelector('.eye[data-eye=OD] .slices input')"
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language=language)
        opened(browser, url, case_id)
        browser.until("!document.querySelector('.eye[data-eye=OD] .slices').hidden")
        browser.press("h")
        browser.until(f"{over} && {beside}")
        assert why not in look(browser, said)
        assert look(browser, title) == ""
        browser.press("PageDown")
        assert look(browser, number + ".value") == "2"
        browser.until(f"!({over})")  # no model has looked at this slice
        browser.until(f"{said}.includes('{why}')")
        assert look(browser, beside) is True
        assert why in look(browser, title)
        browser.picture(f"case_heat_slice_{language}")
        assert browser.axe() == []
        browser.press("h", "h")  # off and on again
        browser.until(beside)
        assert look(browser, over) is False
        browser.press("PageUp")
        browser.until(over)
        assert why not in look(browser, said)
        assert look(browser, title) == ""
        browser.press("PageUp")
        browser.until(f"!({over})")
        assert browser.complaints() == []
