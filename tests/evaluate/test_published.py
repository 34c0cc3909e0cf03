"""Published rows: whole, on sets that are on the shelf, under columns that our profiles have."""

import pytest

from eyeground.data.public import ClassFolders
from eyeground.evaluate.published import published
from eyeground.pick import names, pick

SETS = ("octid", "retina", "aptos2019", "jsiec")


def test_only_the_sets_that_were_published_have_rows() -> None:
    assert {name for name in names("data.datasets") if published(name)} == set(SETS)
    assert published("no such set") == ()
    assert [len(published(name)) for name in SETS] == [6, 2, 2, 2]


@pytest.mark.parametrize("name", SETS)
def test_rows_stand_under_their_profiles_columns(name: str) -> None:
    for row in published(name):
        assert row.dataset == name
        assert set(row.values) <= set(pick("evaluate.profiles", row.profile).COLUMNS)
        assert all(value is None or 0 < value < 1 for value in row.values.values())


@pytest.mark.parametrize("name", SETS)
def test_they_were_measured_on_the_published_split(name: str) -> None:
    layout = pick("data.datasets", name).DATASET.layouts[0]
    assert isinstance(layout, ClassFolders)
    expected = {split.name: split.images for split in layout.splits}["test"]
    measured = {row.test_images for row in published(name)} - {None}
    assert measured == {expected} or (name, measured) == ("jsiec", {319})  # of which the sources disagree


def test_some_numbers_as_the_studies_print_them() -> None:
    paddle = published("octid")[1]
    assert (paddle.system, paddle.values["roc_auc"], paddle.values["kappa"]) == (
        "RETFound_mae_meh, Paddle port", 0.9845, 0.8638,
    )  # fmt: skip
    torch = published("jsiec")[0]
    assert [torch.values[each] for each in ("average_precision", "accuracy", "f1")] == [0.8851, 0.8527, 0.7753]
    none, *_, own = (row for row in published("octid") if row.study == "OCT study")
    assert (none.values["acc"], none.values["precision"], none.values["mcc"]) == (0.803, None, None)
    assert (own.system, own.values["auc_roc"], own.values["f1"]) == ("its own MAE", 0.915, 0.533)
    assert own.profile == "retfound2023"
