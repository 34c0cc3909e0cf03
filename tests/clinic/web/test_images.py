"""Images as people see them, and heat maps over them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db.opinions import HeatMap
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Said

from ..constant_grader import ConstantGrader
from ..opened import encoded, photo, work_off
from .office import Office


def turned(size: tuple[int, int], orientation: int) -> bytes:
    """A photograph that its header says is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Zhang San"
    file = BytesIO()
    Image.new("RGB", size, (90, 40, 10)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def two_pages() -> bytes:
    file = BytesIO()
    pages = [Image.new("L", (8, 6), shade) for shade in (10, 200)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    return file.getvalue()


def sent(office: Office, *photos: bytes) -> str:
    told = [{"name": f"Zhang San {place}.x", "eye": eye, "data": encoded(each)}
            for place, (eye, each) in enumerate(zip(("OD", "OS"), photos, strict=False))]  # fmt: skip
    return office.send("m1", photos=told)


def seen(office: Office, case_id: str) -> int:
    with office.service.database.read() as session:
        wanted = select(AuditRecord).filter_by(case_id=case_id, event="image_seen")
        return len(session.scalars(wanted).all())


def test_an_image_is_shown_upright_and_written_anew(office: Office) -> None:
    case_id = sent(office, turned((60, 40), 6))
    reply = office.get(f"cases/{case_id}/images/0/shown", "doctor")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
    picture = Image.open(BytesIO(reply.content))
    assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (40, 60), {})
    assert b"Zhang" not in reply.content
    assert "Zhang" not in str(reply.headers)
    assert (reply.headers["x-slices"], reply.headers["cache-control"]) == ("1", "private, no-cache")
    assert seen(office, case_id) == 1
    kept = {"If-None-Match": reply.headers["etag"]}
    again = office.ask("GET", f"/api/v1/cases/{case_id}/images/0/shown", "doctor", headers=kept)
    assert (again.status_code, again.content, again.headers["x-slices"]) == (304, b"", "1")
    # A picture in a browser's store is no right to see it.
    assert office.ask("GET", f"/api/v1/cases/{case_id}/images/0/shown", "", headers=kept).status_code == 401
    other = office.ask("GET", f"/api/v1/cases/{case_id}/images/0/shown?slice=0", "doctor", headers=kept)
    assert other.status_code == 200
    assert office.case(case_id)["images"][0]["slices"] == 1


def test_a_page_is_chosen_and_one_that_is_not_there_is_refused(office: Office) -> None:
    case_id = sent(office, two_pages())
    assert office.case(case_id)["images"][0]["slices"] is None
    shades = []
    for slice in (0, 1):
        reply = office.get(f"cases/{case_id}/images/0/shown", "doctor", params={"slice": slice})
        shades.append(int(np.asarray(Image.open(BytesIO(reply.content))).mean().round()))
    assert shades == [10, 200]
    assert office.case(case_id)["images"][0]["slices"] == 2
    reply = office.get(f"cases/{case_id}/images/0/shown", "doctor", params={"slice": 2})
    assert (reply.status_code, reply.json()["reason"]) == (422, "image_refused")
    assert "there is no page 2" in reply.json()["error"]
    assert office.get(f"cases/{case_id}/images/0/shown", "doctor", params={"slice": -1}).status_code == 422


@pytest.mark.parametrize("data", [photo(1), b"<svg onload=alert(1)>", b"%PDF-1.7"])
def test_what_cannot_be_decoded_is_not_shown(office: Office, data: bytes) -> None:
    case_id = sent(office, data)
    reply = office.get(f"cases/{case_id}/images/0/shown", "doctor", params={"lang": "zh"})
    assert (reply.status_code, reply.json()["reason"]) == (422, "image_refused")
    assert reply.json()["error"].startswith("该图像无法显示")
    assert "Zhang" not in reply.text


def test_an_image_that_is_not_there_or_gone_says_which(office: Office) -> None:
    case_id = sent(office, turned((60, 40), 1))
    for what in ("shown", "heat"):
        assert office.get(f"cases/{case_id}/images/5/{what}", "doctor").json()["reason"] == "not_found"
        assert office.get(f"cases/{case_id}/images/0/{what}", "doctor_elsewhere").status_code == 404
        assert office.get(f"cases/{'0' * 32}/images/0/{what}", "doctor").status_code == 404
    assert office.get(f"cases/{case_id}/images/0/heat", "doctor").json()["reason"] == "not_found"
    office.service.store.remove(digest_of(turned((60, 40), 1)))
    reply = office.get(f"cases/{case_id}/images/0/shown", "doctor")
    assert (reply.status_code, reply.json()["reason"]) == (404, "image_gone")


def test_a_heat_map_is_kept_and_given_as_it_was_made(office: Office) -> None:
    data, heat = turned((60, 40), 1), BytesIO()
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(heat, "PNG")
    said = {"DR": Said(value=2, score=0.8)}
    told = Reading("good", said=said, heat=heat.getvalue(), heat_of="DR", device="Topcon TRC")
    case_id = sent(office, data, turned((61, 40), 1))
    work_off(office.service, [ConstantGrader(answers={digest_of(data): told})])
    view = office.case(case_id)
    assert [(each["heat"], each["device"]) for each in view["images"]] == [
        ([{"target": "DR"}], "Topcon TRC"),
        ([], ""),
    ]
    reply = office.get(f"cases/{case_id}/images/0/heat", "doctor")
    assert (reply.status_code, reply.headers["content-type"], reply.content) == (200, "image/png", heat.getvalue())
    assert office.get(f"cases/{case_id}/images/1/heat", "doctor").status_code == 404
    # A model that is gone takes its map along.
    office.post(f"cases/{case_id}/reread", "operator", json={"version": view["version"]})
    work_off(office.service, [ConstantGrader(id="another")])
    assert office.get(f"cases/{case_id}/images/0/heat", "doctor").status_code == 404
    with office.service.database.read() as session:
        assert session.scalars(select(HeatMap)).all() == []


def test_of_several_models_of_a_part_each_has_its_own_map_under_its_own_finding(office: Office) -> None:
    data, fine = turned((60, 40), 1), turned((61, 40), 1)
    graders = [
        ConstantGrader(
            id=f"a-{finding}", offers=(finding,),
            answers={digest_of(data): Reading("good", said={finding: Said(value=1)}, heat=heat, heat_of=finding)},
        )
        for finding, heat in (("DR", b"of DR"), ("AMD", b"of AMD"))
    ]  # fmt: skip
    case_id = sent(office, data, fine)
    work_off(office.service, graders)
    view = office.case(case_id)
    assert [each["heat"] for each in view["images"]] == [[{"target": "DR"}, {"target": "AMD"}], []]
    address = f"cases/{case_id}/images/0/heat"
    for finding in ("DR", "AMD"):
        assert office.get(address, "doctor", params={"target": finding}).content == f"of {finding}".encode()
    assert office.get(address, "doctor").content == b"of DR"
    assert office.get(address, "doctor", params={"target": "GLA"}).status_code == 404
    assert office.get(address, "doctor", params={"target": "../x"}).status_code == 422
