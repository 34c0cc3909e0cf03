"""Every public set on the shelf: its description is whole, and a copy laid out from it is read as it says."""

import re
import shutil
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from eyeground.cli.config import DataSource
from eyeground.cli.dataset import open_dataset, open_manifest
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.problem import DataProblems
from eyeground.data.public import ClassFolders, Layout, PublicDataset, Tables, Volumes, plain
from eyeground.data.public_folder import TABLE, check_layout, open_source
from eyeground.pick import names, pick
from tests.data.laid_out import ALONE, FEW, is_labelled, lay_out, picture

SHELF = names("data.datasets")
WAYS = [(name, place) for name in SHELF for place in range(len(pick("data.datasets", name).DATASET.layouts))]
WANTED = {
    "octid", "retina", "aptos2019", "jsiec", "idrid", "messidor2", "papila", "glaucoma_fundus",
    "octdl", "oct2017", "goals", "octa500", "duke_oct", "odir5k", "eyepacs",
}  # fmt: skip
# Folder names that RETFound's own archives have, as several independent projects read them.
RETFOUND = {
    "octid": ("ANormal", "ARMD", "CSR", "Diabetic_retinopathy", "Macular_Hole"),
    "retina": ("anormal", "bcataract", "cglaucoma", "ddretina_disease"),
    "aptos2019": ("anodr", "bmilddr", "cmoderatedr", "dseveredr", "eproliferativedr"),
    "messidor2": ("anodr", "bmilddr", "cmoderatedr", "dseveredr", "eproliferativedr"),
    "idrid": ("anoDR", "bmildDR", "cmoderateDR", "dsevereDR", "eproDR"),
    "papila": ("anormal", "bsuspectglaucoma", "cglaucoma"),
    "glaucoma_fundus": ("anormal_control", "bearly_glaucoma", "cadvanced_glaucoma"),
}


def _set(name: str) -> PublicDataset:
    dataset: PublicDataset = pick("data.datasets", name).DATASET
    return dataset


def test_the_shelf_holds_the_sets_that_are_wanted() -> None:
    assert set(SHELF) == WANTED


@pytest.mark.parametrize("name", SHELF)
def test_a_file_of_the_shelf_is_one_constant_named_like_the_file(name: str) -> None:
    module = pick("data.datasets", name)
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", "") != "eyeground.data.public"
    }
    assert own | {"DATASET"} == {"DATASET"}
    assert isinstance(module.DATASET, PublicDataset)
    assert module.DATASET.name == name
    assert module.__doc__


@pytest.mark.parametrize("name", SHELF)
def test_every_field_says_something(name: str) -> None:
    dataset = _set(name)
    assert all(getattr(dataset, word) for word in ("title", "page", "licence", "citation", "classes", "layouts"))
    assert dataset.modality in ("fundus", "oct")
    assert dataset.images is None or dataset.images > 0
    assert dataset.downloads or dataset.steps
    assert len({layout.name for layout in dataset.layouts}) == len(dataset.layouts)
    for layout in dataset.layouts:
        assert all(getattr(layout, each.name) for each in fields(layout) if each.name in ("name", "tree", "names"))


def test_no_two_sets_share_a_name_or_a_page() -> None:
    sets = [_set(name) for name in SHELF]
    assert len({each.title for each in sets}) == len({each.page for each in sets}) == len(sets)


@pytest.mark.parametrize("name", SHELF)
def test_every_address_is_a_whole_https_one(name: str) -> None:
    dataset = _set(name)
    said = [re.findall(r"\b\w+://[^\s,;)]+", step) for step in dataset.steps]
    addresses = [dataset.page, *(each.url for each in dataset.downloads), *(url for urls in said for url in urls)]
    for address in addresses:
        parts = urlsplit(address)
        assert parts.scheme == "https", address
        assert "." in parts.netloc, address
    for each in dataset.downloads:
        assert each.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", each.sha256)
        assert each.file == Path(each.file).name


@pytest.mark.parametrize("name", SHELF)
def test_classes_have_two_names_and_spellings_of_their_own(name: str) -> None:
    dataset = _set(name)
    for each in dataset.classes:
        assert each.en
        assert each.en.isascii()
        assert re.search(r"[\u4e00-\u9fff]", each.zh), each
        assert each.en != each.zh
    for words in ([each.en for each in dataset.classes], [each.zh for each in dataset.classes]):
        assert len(set(words)) == len(words)
    spellings = [plain(word) for each in dataset.classes for word in (each.label, *each.also)]
    assert len(set(spellings)) == len(spellings)
    for each in dataset.classes:
        assert dataset.class_of(each.label.upper().replace(" ", "_")) is each


@pytest.mark.parametrize("name", SHELF)
def test_counts_add_up_where_all_are_given(name: str) -> None:
    dataset = _set(name)
    images = [each.images for each in dataset.classes]
    if None not in images:
        assert sum(filter(None, images)) == dataset.images
    for layout in dataset.layouts:
        splits = layout.splits if isinstance(layout, ClassFolders | Tables) else ()
        if splits and all(split.images is not None for split in splits):
            assert sum(split.images or 0 for split in splits) == dataset.images, layout.name
        for split in splits:
            if split.by_class:
                assert sum(split.by_class) == split.images
        if splits and all(split.by_class for split in splits):
            columns = zip(*(split.by_class for split in splits), strict=True)
            assert [sum(column) for column in columns] == images, layout.name


def test_test_sets_are_as_large_as_the_published_ones() -> None:
    # The Paddle study's sizes; those of JSIEC's test folder differ from source to source and are not expected here.
    sizes = {name: _set(name).layouts[0].splits[2].images for name in ("octid", "retina", "aptos2019", "jsiec")}  # type: ignore[union-attr]
    assert sizes == {"octid": 174, "retina": 181, "aptos2019": 1100, "jsiec": None}


@pytest.mark.parametrize("name", sorted(RETFOUND))
def test_retfounds_folder_names_mean_the_classes_in_their_order(name: str) -> None:
    dataset = _set(name)
    assert [dataset.class_of(folder) for folder in RETFOUND[name]] == list(dataset.classes)
    assert sorted(RETFOUND[name]) == list(RETFOUND[name])  # as ImageFolder numbers them


def test_jsiecs_classes_are_numbered_as_imagefolder_numbers_its_folders() -> None:
    labels = [each.label for each in _set("jsiec").classes]
    assert labels == sorted(labels)
    assert len(labels) == 39


@pytest.mark.parametrize(("name", "place"), WAYS)
def test_patterns_find_the_patient_in_the_names_they_are_for(name: str, place: int) -> None:
    layout = _set(name).layouts[place]
    group = layout.group if not isinstance(layout, Volumes) else ""
    if group:
        assert re.compile(group).groups == 1
        match = re.search(group, layout.names.format(p=4711, n=5, c=""))
        assert match is not None
        assert match[1] == "4711"
    if isinstance(layout, Volumes):
        for each in _set(name).classes:
            assert re.fullmatch(layout.pattern, layout.names.format(n=7, c=each.label, p=0))


@pytest.mark.parametrize(("name", "place"), WAYS)
def test_a_whole_copy_is_found_and_nothing_is_said_of_it(name: str, place: int, tmp_path: Path) -> None:
    copy = lay_out(_set(name), _set(name).layouts[place], tmp_path / "unpacked" / "set")
    report = check_layout(copy.dataset, tmp_path)
    assert (report.problems, report.notes) == ((), ())
    assert report.complete
    assert report.root == tmp_path / "unpacked" / "set"
    assert report.layout == copy.layout.name
    assert report.images == copy.dataset.images
    assert report.counts == (copy.counts if is_labelled(copy.layout) else None)


@pytest.mark.parametrize(("name", "place"), [way for way in WAYS if is_labelled(_set(way[0]).layouts[way[1]])])
def test_a_copy_opens_as_its_description_says(name: str, place: int, tmp_path: Path) -> None:
    layout = _set(name).layouts[place]
    copy = lay_out(_set(name), layout, tmp_path)
    source = open_source(copy.dataset, tmp_path)
    config = FinetuneConfig(**source.keys())
    dataset = open_dataset(
        config.data,
        preprocessing=Preprocessing(image_px=32, store_px=24, crop_field=False),
        classes=config.classes,
        ordered=config.ordered,
        split=config.split,
        split_seed=config.split_seed,
        val_fraction=config.val_fraction,
    )
    labels = tuple(each.label for each in copy.dataset.classes)
    assert dataset.classes == source.classes == labels
    assert dataset.ordered == copy.dataset.ordered
    assert len(dataset.samples) == copy.dataset.images
    counts = dataset.counts()
    splits = getattr(copy.layout, "splits", ())
    own = [split.name for split in splits if not getattr(copy.layout, "resplit", False)]
    if own:
        assert source.split == "source"
        assert counts["test"] == dict.fromkeys(labels, FEW["test"])
        if "val" in own:
            assert counts["val"] == dict.fromkeys(labels, FEW["val"])
        assert sum(counts["train"].values()) + sum(counts["val"].values()) == sum(
            FEW[each] for each in own if each != "test"
        ) * len(labels)
    else:
        assert source.split == "55:15:30"
        assert set(counts) == {"train", "val", "test"}
        images = ALONE if not splits else sum(FEW[split.name] for split in splits)
        assert {label: sum(split[label] for split in counts.values()) for label in labels} == dict.fromkeys(
            labels, images
        )
    if _tells_patients(layout):
        assert dataset.patients_known
        assert copy.dataset.patients_known or name == "papila"


def _tells_patients(layout: Layout) -> bool:
    """Whether a layout tells whose an image is."""
    if isinstance(layout, Tables):
        return bool(layout.group) or all(part.patient for part in layout.parts)
    return isinstance(layout, Volumes) or bool(layout.group)


@pytest.mark.parametrize(("name", "place"), [way for way in WAYS if not is_labelled(_set(way[0]).layouts[way[1]])])
def test_a_copy_without_labels_opens_for_pretraining(name: str, place: int, tmp_path: Path) -> None:
    layout = _set(name).layouts[place]
    copy = lay_out(_set(name), layout, tmp_path)
    source = open_source(copy.dataset, tmp_path)
    assert set(source.keys()) == {"data"}
    sources = [DataSource(**each) for each in source.keys()["data"]]
    manifest = open_manifest(sources, classes=None, ordered=None, labels_required=False)
    assert len(manifest.samples) == copy.dataset.images
    assert {sample.label for sample in manifest.samples} == {None}
    assert manifest.patients_known == _tells_patients(layout)


def test_both_eyes_of_a_patient_stay_together(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    rows = [f"{patient}_{eye},{patient % 2}" for patient in range(20) for eye in ("left", "right")]
    (tmp_path / "trainLabels.csv").write_text("image,level\n" + "\n".join(rows))
    for number, row in enumerate(rows):
        (tmp_path / "train" / f"{row.partition(',')[0]}.jpeg").write_bytes(picture(number, ".jpeg"))
    source = open_source(_set("eyepacs"), tmp_path)
    assert (source.classes, source.ordered) == (("0", "1"), True)
    manifest = open_manifest([DataSource(**each) for each in source.data], classes=source.classes, ordered=True)
    assert {sample.patient for sample in manifest.samples} == {str(patient) for patient in range(20)}
    assert (tmp_path / TABLE).read_text().splitlines()[:3] == [
        "file,label,group",
        "train/0_left.jpeg,0,0",
        "train/0_right.jpeg,0,0",
    ]


def test_a_published_test_split_that_leaks_is_not_used(tmp_path: Path) -> None:
    for split, label, patient in (("train", "CNV", 1), ("train", "DME", 2), ("test", "CNV", 1), ("test", "DME", 3)):
        folder = tmp_path / "OCT2017" / split / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            (folder / f"{label}-{patient}-{number}{split}.jpeg").write_bytes(b"x")
    source = open_source(_set("oct2017"), tmp_path)
    assert (source.split, source.data[0]["group"]) == ("55:15:30", r"^[A-Z]+-(\d+)-")


@pytest.fixture
def octid(tmp_path: Path) -> tuple[PublicDataset, Path]:
    """OCTID laid out by classes."""
    return lay_out(_set("octid"), _set("octid").layouts[1], tmp_path).dataset, tmp_path


def test_a_part_of_a_set_is_accepted_and_told(octid: tuple[PublicDataset, Path]) -> None:
    dataset, folder = octid
    next((folder / "AMD").iterdir()).unlink()
    report = check_layout(dataset, folder)
    assert report.problems == ()
    assert report.notes == ("a part of the set, 19 of 20 images: AMD 3 of 4",)
    assert not report.complete
    shutil.rmtree(folder / "MH")
    report = check_layout(dataset, folder)
    assert report.problems == ()
    assert report.notes == ("a part of the set, 15 of 20 images: AMD 3 of 4; no image of MH (Macular hole)",)
    assert open_source(dataset, folder).classes == ("Normal", "AMD", "CSR", "DR")


def test_more_than_the_set_has_is_told(octid: tuple[PublicDataset, Path]) -> None:
    dataset, folder = octid
    (folder / "CSR" / "more.png").write_bytes(picture(999))
    report = check_layout(dataset, folder)
    assert report.problems == ()
    assert report.notes == (
        "more than the set has (CSR 5, not 4): another edition of it, or images that are not its own",
    )
    assert not report.complete


def test_every_problem_comes_at_once(octid: tuple[PublicDataset, Path]) -> None:
    dataset, folder = octid
    for name in ("Glaucoma", "Macular_Hole", "empty"):
        (folder / name).mkdir()
    for file in ("Glaucoma/1.png", "Macular_Hole/2.png", "3.png"):
        (folder / file).write_bytes(picture(5))
    told = [str(problem) for problem in check_layout(dataset, folder).problems]
    assert len(told) == 4
    assert "3.png: lies beside the class folders; move it into one of them" in told
    assert "empty: is an empty class folder; fill it or remove it" in told
    assert any(
        "the class folder 'Glaucoma' is none of the 5 classes of OCTID" in each and "move it out" in each
        for each in told
    )
    assert any("the folders MH and Macular_Hole are the same class; join them" in each for each in told)
    with pytest.raises(DataProblems, match="4 problems"):
        open_source(dataset, folder)


def test_a_folder_that_is_empty_missing_or_something_else(tmp_path: Path) -> None:
    dataset = _set("octid")
    report = check_layout(dataset, tmp_path)
    assert (report.root, report.images, report.complete) == (None, 0, None)
    (problem,) = report.problems
    assert problem.what.startswith(
        "is empty; lay it out as RETFound's published split: OCTID/train|val|test/<class>/<image>"
    )
    assert "classes: Normal, AMD, CSR, DR, MH" in problem.what
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "1.png").write_bytes(b"x")
    (problem,) = check_layout(dataset, tmp_path).problems
    assert problem.what.startswith("holds nothing that looks like OCTID; lay it out as")
    (problem,) = check_layout(dataset, tmp_path / "nowhere").problems
    assert problem.what == "there is no such folder; check the path"
    (problem,) = check_layout(dataset, tmp_path / "holiday" / "1.png").problems
    assert problem.what == "is no folder; check the path"


def test_a_split_of_ones_own_is_used_and_told_from_the_published_one(tmp_path: Path) -> None:
    dataset = _set("octdl")
    for split, label, patient in (("train", "NO", 1), ("train", "AMD", 2), ("test", "NO", 3), ("test", "AMD", 4)):
        (tmp_path / split / label).mkdir(parents=True)
        (tmp_path / split / label / f"{label.lower()}_{patient}_1.jpg").write_bytes(b"x")
    report = check_layout(dataset, tmp_path)
    assert (report.layout, report.problems) == ("a split of your own", ())
    assert open_source(dataset, tmp_path).split == "source"
    copy = lay_out(_set("octid"), _set("octid").layouts[0], tmp_path / "octid")
    moved = next((tmp_path / "octid" / "train" / "MH").iterdir())
    moved.rename(tmp_path / "octid" / "test" / "MH" / "moved.jpeg")
    (note,) = check_layout(copy.dataset, tmp_path / "octid").notes
    assert note.startswith("its splits are not the published ones (train MH 2 of 3; test MH 3, not 2)")


def test_rows_without_an_image_or_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    copy = lay_out(_set("messidor2"), _set("messidor2").layouts[1], tmp_path)
    table = tmp_path / "messidor_data.csv"
    table.write_text(table.read_text() + "gone,3\nungraded,\nodd,7\n")
    for name in ("ungraded.png", "stranger.png"):
        (tmp_path / "IMAGES" / name).write_bytes(picture(77))
    report = check_layout(copy.dataset, tmp_path)
    assert [str(problem) for problem in report.problems] == [
        "row 24, messidor_data.csv: the label '7' is none of the classes 0, 1, 2, 3, 4; correct it or remove the row"
    ]
    assert report.notes == (
        "messidor_data.csv: 1 of 23 rows whose images are not in the folder are left out (first: gone)",
        "messidor_data.csv: 1 of 23 rows without a label are left out (first: ungraded)",
        "2 images stand in no row with a label and are left out (first: IMAGES/stranger.png)",
    )


def test_a_table_without_its_columns_names_those_it_has(tmp_path: Path) -> None:
    copy = lay_out(_set("aptos2019"), _set("aptos2019").layouts[1], tmp_path)
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace("id_code,diagnosis", "id_code,grade"))
    (problem,) = check_layout(copy.dataset, tmp_path).problems
    assert str(problem) == "train.csv: there is no column 'diagnosis' It has: id_code, grade"


def test_renamed_files_lose_their_patients_and_it_is_said(tmp_path: Path) -> None:
    copy = lay_out(_set("octdl"), _set("octdl").layouts[0], tmp_path)
    first = min((tmp_path / "NO").iterdir())
    first.rename(tmp_path / "NO" / "scan.jpg")
    report = check_layout(copy.dataset, tmp_path)
    assert report.problems == ()
    assert report.notes == ("1 file names do not tell the patient (first: NO/scan.jpg); so none is used",)
    assert "group" not in open_source(copy.dataset, tmp_path).data[0]


def test_masks_beside_the_images_are_not_taken_for_images(tmp_path: Path) -> None:
    copy = lay_out(_set("goals"), _set("goals").layouts[0], tmp_path)
    (tmp_path / "Train" / "Layer_Masks").mkdir()
    (tmp_path / "Train" / "Layer_Masks" / "0001.png").write_bytes(picture(3))
    assert check_layout(copy.dataset, tmp_path).images == 3 * ALONE
    assert [each["path"].relative_to(tmp_path).as_posix() for each in open_source(copy.dataset, tmp_path).data] == [
        "Train/Image", "Validation/Image", "Test/Image",
    ]  # fmt: skip


def test_a_table_may_be_written_elsewhere(tmp_path: Path) -> None:
    copy = lay_out(_set("idrid"), _set("idrid").layouts[1], tmp_path / "set")
    source = open_source(copy.dataset, tmp_path / "set", table=tmp_path / "labels.csv")
    assert source.data[0]["table"] == tmp_path / "labels.csv"
    assert not (tmp_path / "set" / TABLE).exists()
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[:2] == ["file,label,split", "1. Original Images/a. Training Set/IDRiD_1.jpg,0,train"]
    assert len(lines) == 1 + 5 * (FEW["train"] + FEW["test"])


def test_the_real_octdl_is_read_through_its_description(realdata: Path) -> None:
    folder = realdata / "oct-octdl7" / "images"
    report = check_layout(_set("octdl"), folder)
    assert report.problems == ()
    assert report.counts == {"": {"NO": 245, "AMD": 938, "DME": 105, "ERM": 113, "RAO": 16, "RVO": 71, "VID": 56}}
    (note,) = report.notes
    assert note.startswith("a part of the set, 1544 of 2064 images: NO 245 of 332; AMD 938 of 1231")
    source = open_source(_set("octdl"), folder)
    manifest = open_manifest([DataSource(**each) for each in source.data], classes=source.classes, ordered=False)
    assert manifest.patients_known
    assert len({sample.patient for sample in manifest.samples}) < len(manifest.samples)


def test_the_real_odir_photographs_are_read_through_their_description(realdata: Path) -> None:
    report = check_layout(_set("odir5k"), realdata / "fundus-odir3" / "images")
    assert report.problems == ()
    assert report.counts is not None
    assert {label: images for label, images in report.counts[""].items() if images} == {"N": 799, "G": 232, "C": 220}
    assert "no image of D (Diabetic retinopathy)" in report.notes[-1]
    source = open_source(_set("odir5k"), realdata / "fundus-odir3" / "images")
    assert source.classes == ("normal", "glaucoma", "cataract")
    assert source.data[0]["group"].startswith(r"^(\d+)_")
