"""Statistics over HTTP, and as a page."""

import pytest

from .office import Office


def test_statistics_are_told_as_json_with_null_and_a_reason_for_what_is_undefined(office: Office) -> None:
    empty = office.get("statistics", "doctor")
    assert empty.status_code == 200
    assert empty.json()["waits"]["whole"]["median_h"] == {"value": None, "low": None, "high": None, "why": "nothing"}
    assert (empty.json()["days"], len(empty.json()["waits"]["days"])) == (30, 30)
    assert len(office.get("statistics", "doctor", params={"days": 7}).json()["waits"]["days"]) == 7
    assert office.get("statistics", "doctor", params={"days": 8}).status_code == 422


def test_a_signed_case_is_in_them_and_another_sites_is_not(office: Office) -> None:
    office.signed("m1")
    here, elsewhere = (office.get("statistics", who).json() for who in ("doctor_here", "doctor_elsewhere"))
    assert (here["waits"]["whole"]["cases"], elsewhere["waits"]["whole"]["cases"]) == (1, 0)
    dr = next(each for each in here["agreement"] if each["finding"] == "DR")
    assert (dr["eyes"], dr["patients"], dr["weighted"], dr["source"]) == (2, 1, True, "signed")
    assert (elsewhere["agreement"], elsewhere["rates"], elsewhere["drift"]) == ([], [], [])
    assert (here["site"], elsewhere["site"]) == ("here", "elsewhere")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_a_table_for_every_plot(office: Office, language: str) -> None:
    office.signed("m1")
    page = office.ask("GET", "/statistics", "doctor", params={"lang": language, "days": "7"}).text
    assert page.count("<svg") == page.count("</svg>")
    for plot in ("waits-720", "waits-340", "agreement", "rates", "drift-0"):
        assert f'aria-labelledby="{plot}-title {plot}-told"' in page
    assert page.count("<details>") == 3  # the fourth stands open beside its plot
    assert "days=7" in page.partition('aria-current="page">')[0][-200:] or 'days=7" aria-current="page"' in page
    assert "m1" not in page, "no case, no patient"
    assert "built-in method" not in page


def test_the_empty_page_says_so_and_odd_days_are_the_usual_ones(office: Office) -> None:
    page = office.ask("GET", "/statistics", "doctor", params={"days": "<script>"})
    assert page.status_code == 200
    assert "There is nothing to count yet." in page.text
    assert 'days=30" aria-current="page"' in page.text
    assert "<script>" not in page.text
