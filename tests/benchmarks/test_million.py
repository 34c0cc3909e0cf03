"""The benchmark of very many cases: with few, every page is opened, and the trail verifies."""

from pathlib import Path

from benchmarks import million


def test_every_page_is_opened_with_few_and_with_more(tmp_path: Path) -> None:
    found = []
    for count in (200, 400):
        folder = tmp_path / str(count)
        folder.mkdir()
        with million.filled(folder, count, f"sqlite:///{folder}/many.db") as (service, tokens):
            found.append(million.measure(service, tokens, rounds=1))
    claims = million.claims(found[1], found[0], 400, 200)
    assert len(claims) > 30
    assert all(each.ours > 0 and each.reference > 0 for each in claims)
    assert any("of one site" in each.what for each in claims)
    assert len(found[1].together) >= million.AT_ONCE * 11
