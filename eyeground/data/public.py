"""What a public data set is: where it lies, what it shows, how it is laid out, as data."""

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublicClass:
    """One class of a public set.

    Args:
        label: How its own folders or table write it.
        en: Clinical name in English.
        zh: Clinical name in Chinese.
        images: How many images it has; None where no source for the number was found.
        also: Other spellings, such as the folder names of RETFound's split.

    Example:
        >>> PublicClass("0", "No diabetic retinopathy", "无糖尿病视网膜病变", 1805, ("anodr",)).also
        ('anodr',)

    References:
        Our own.
    """

    label: str
    en: str
    zh: str
    images: int | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Download:
    """One file that a site gives without a login.

    Args:
        url: Where it is.
        file: Name to keep it under.
        sha256: Hash of its bytes; None = noted at the first download, and held to from then on.
        archive: Whether it is a zip or tar to unpack.
        size_bytes: How large it is, None where not known.

    Example:
        >>> Download("https://a.example/b.zip", "b.zip").archive
        True

    References:
        Our own.
    """

    url: str
    file: str
    sha256: str | None = None
    archive: bool = True
    size_bytes: int | None = None


@dataclass(frozen=True)
class PublishedSplit:
    """How many images a published split has in one of its folders.

    Args:
        name: ``"train"``, ``"val"`` or ``"test"``.
        images: How many; None where the sources disagree or say nothing.
        by_class: How many of each class, in the order of the classes; empty where not known.

    Example:
        >>> PublishedSplit("test", 174).by_class
        ()

    References:
        Our own.
    """

    name: Literal["train", "val", "test"]
    images: int | None = None
    by_class: tuple[int, ...] = ()


@dataclass(frozen=True)
class ClassFolders:
    """Laid out as a folder per class, or as train, val and test with a folder per class in each.

    Args:
        name: What this way to lay it out is called.
        tree: How the folders look.
        names: How files are named, with ``{n}`` for a number that is theirs alone and ``{p}`` for the patient's.
        splits: What train, val and test hold; empty = the class folders stand at the top.
        group: Pattern with one bracket that finds the patient in a file name; empty = names do not tell.
        resplit: Whether the splits that the folders name are not to be used, because patients stand in two of them.

    Example:
        >>> ClassFolders("a folder per class", "<class>/*.jpg", "{n}.jpg").splits
        ()

    References:
        Our own.
    """

    name: str
    tree: str
    names: str
    splits: tuple[PublishedSplit, ...] = ()
    group: str = ""
    resplit: bool = False


@dataclass(frozen=True)
class TablePart:
    """A table of labels and the folder that its images lie in.

    Args:
        table: The table, below the set's folder.
        images: The folder, below the set's folder.
        file: Column of the file names.
        label: Column of the labels.
        patient: Column of the patients, empty if there is none.
        split: Split that all of it belongs to, empty if the set names none.

    Example:
        >>> TablePart("train.csv", "train_images", "id_code", "diagnosis").patient
        ''

    References:
        Our own.
    """

    table: str
    images: str
    file: str
    label: str
    patient: str = ""
    split: Literal["train", "val", "test", ""] = ""


@dataclass(frozen=True)
class Tables:
    """Laid out as folders of images with tables of labels.

    Args:
        name: What this way to lay it out is called.
        tree: How the folders look.
        names: How files are named, with ``{n}`` and ``{p}`` as in ``ClassFolders``.
        parts: The tables.
        group: Pattern with one bracket that finds the patient in a file name, where the tables do not tell.
        splits: What the parts named train and test hold.

    Example:
        >>> Tables("as published", "a.csv, a/*.png", "{n}.png", (TablePart("a.csv", "a", "id", "grade"),)).group
        ''

    References:
        Our own.
    """

    name: str
    tree: str
    names: str
    parts: tuple[TablePart, ...]
    group: str = ""
    splits: tuple[PublishedSplit, ...] = ()


@dataclass(frozen=True)
class Volumes:
    """Laid out as folders of slices, a folder a volume.

    Args:
        name: What this way to lay it out is called.
        tree: How the folders look.
        names: How such a folder is named, with ``{n}`` for its number and ``{c}`` for the class's label, if it is told.
        folders: Where they lie, below the set's folder.
        pattern: Matches the whole name of such a folder; a group ``label`` in it is the class.
        slices: Where in it the slices lie.

    Example:
        >>> Volumes("as published", "AMD1/", "{c}{n}", ("",), r"(?P<label>AMD|DME)[0-9]+").slices
        ''

    References:
        Our own.
    """

    name: str
    tree: str
    names: str
    folders: tuple[str, ...]
    pattern: str
    slices: str = ""


@dataclass(frozen=True)
class Images:
    """Laid out as folders of images whose labels, if there are any, are in nothing that is read here.

    Args:
        name: What this way to lay it out is called.
        tree: How the folders look.
        names: How files are named, with ``{n}`` and ``{p}`` as in ``ClassFolders``.
        folders: Where the images lie, below the set's folder.
        group: Pattern with one bracket that finds the patient in a file name; empty = names do not tell.

    Example:
        >>> Images("for pre-training", "Train/Image/*.png", "{n}.png", ("Train/Image",)).folders
        ('Train/Image',)

    References:
        Our own.
    """

    name: str
    tree: str
    names: str
    folders: tuple[str, ...]
    group: str = ""


Layout = ClassFolders | Tables | Volumes | Images


@dataclass(frozen=True)
class PublicDataset:
    """Everything to know of a public set before one has it.

    Args:
        name: Name of its file on the shelf.
        title: Its own name.
        page: Official page.
        licence: As the page says it; ``"not stated"`` where it does not. Read it there before use.
        citation: What to cite.
        modality: ``"fundus"`` or ``"oct"``, the words of ``data.modalities``.
        classes: Its classes, in the order that class numbers follow.
        images: How many images it has, None where no source for the number was found.
        patients_known: Whether patients can be told as it is laid out.
        layouts: The ways to lay it out, the one to prefer first.
        ordered: Whether the classes are grades, each more than the one before.
        downloads: What can be downloaded without a login.
        steps: What else is to do, in exact words; ``{folder}`` stands for the user's folder.

    Example:
        >>> layouts = (ClassFolders("a folder per class", "<class>/*.png", "{n}.png"),)
        >>> normal = PublicClass("n", "Normal", "正常", 1)
        >>> PublicDataset("a", "A", "https://a.example", "CC0", "A 2020", "oct", (normal,), 1, False, layouts).downloads
        ()

    References:
        Our own.
    """

    name: str
    title: str
    page: str
    licence: str
    citation: str
    modality: Literal["fundus", "oct"]
    classes: tuple[PublicClass, ...]
    images: int | None
    patients_known: bool
    layouts: tuple[Layout, ...]
    ordered: bool = False
    downloads: tuple[Download, ...] = ()
    steps: tuple[str, ...] = ()

    def class_of(self, word: str) -> PublicClass | None:
        """Find the class that a folder or a table's cell means.

        Args:
            word: As it is written, whatever its case, with spaces, underscores or hyphens.

        Returns:
            The class, or None.
        """
        wanted = plain(word)
        for each in self.classes:
            if wanted in (plain(spelling) for spelling in (each.label, *each.also)):
                return each
        return None


def plain(word: str) -> str:
    """Bring a label to the form in which spellings are compared.

    Args:
        word: A label.

    Returns:
        It in lower case, with single spaces for runs of spaces, underscores and hyphens.

    Example:
        >>> plain("Macular_Hole") == plain("macular hole")
        True

    References:
        Our own.
    """
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()


_ICDR = (
    ("No diabetic retinopathy", "无糖尿病视网膜病变"),
    ("Mild non-proliferative diabetic retinopathy", "轻度非增殖期糖尿病视网膜病变"),
    ("Moderate non-proliferative diabetic retinopathy", "中度非增殖期糖尿病视网膜病变"),
    ("Severe non-proliferative diabetic retinopathy", "重度非增殖期糖尿病视网膜病变"),
    ("Proliferative diabetic retinopathy", "增殖期糖尿病视网膜病变"),
)


def icdr_grades(images: tuple[int, ...], also: tuple[str, ...] = ()) -> tuple[PublicClass, ...]:
    """Name the five grades of diabetic retinopathy, written 0 to 4.

    Args:
        images: How many images each has.
        also: Another spelling of each; empty if there is none.

    Returns:
        The classes.

    Example:
        >>> icdr_grades((5, 4, 3, 2, 1))[4].en
        'Proliferative diabetic retinopathy'

    References:
        Wilkinson et al., "Proposed international clinical diabetic retinopathy and diabetic macular edema disease
        severity scales", Ophthalmology 2003;110:1677.
    """
    spellings = also or ("",) * len(_ICDR)
    return tuple(
        PublicClass(str(grade), en, zh, count, (spelling,) if spelling else ())
        for grade, ((en, zh), count, spelling) in enumerate(zip(_ICDR, images, spellings, strict=True))
    )


def retfound(
    folder: str,
    names: str,
    train: int,
    val: int,
    test: int | None,
    *,
    by_class: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = ((), (), ()),
) -> ClassFolders:
    """Describe the split that RETFound's authors publish for a benchmark set.

    Args:
        folder: Name of the folder that their archive holds.
        names: How its files are named.
        train: Images in train.
        val: Images in val.
        test: Images in test; None where the sources disagree.
        by_class: Images of each class in train, in val and in test, where known.

    Returns:
        The layout.

    Example:
        >>> [split.images for split in retfound("OCTID", "{n}.jpeg", 316, 82, 174).splits]
        [316, 82, 174]

    References:
        RETFound_MAE, BENCHMARK.md.
    """
    splits = (
        PublishedSplit("train", train, by_class[0]),
        PublishedSplit("val", val, by_class[1]),
        PublishedSplit("test", test, by_class[2]),
    )
    return ClassFolders("RETFound's published split", f"{folder}/train|val|test/<class>/<image>", names, splits)


def retfound_steps(link: str) -> tuple[str, ...]:
    """Say how to get the split that RETFound's authors publish.

    Args:
        link: Their download link for this set.

    Returns:
        The steps.

    Example:
        >>> len(retfound_steps("https://drive.example/x"))
        2

    References:
        RETFound_MAE, BENCHMARK.md.
    """
    return (
        f"for the split that published results were measured on: open {link} in a browser and download the archive; "
        "if the link has moved, it is in BENCHMARK.md of https://github.com/rmaphoh/RETFound_MAE",
        "unpack it so that {folder} holds train, val and test, or one folder that holds them",
    )
