"""DICOM: the printed report as an Encapsulated PDF, and what it says as a Comprehensive SR, a folder a case."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eyeground.clinic.export._codes import uid_of
from eyeground.clinic.export._datasets import pdf_of
from eyeground.clinic.export._means import Means, written
from eyeground.clinic.export._structured import structured_report
from eyeground.clinic.export._studies import Instance, instances_of
from eyeground.clinic.exported import Exported, LeftOut

if TYPE_CHECKING:
    from pydicom import Dataset


class Writer:
    """Writes a folder a case.

    The objects join the study that the images came with, where all of them came with one; else a study of their own.

    Args:
        into: The folder.
        means: What an export works with.

    Example:
        >>> Writer.VERSIONED
        False

    References:
        DICOM PS3.10.
    """

    VERSIONED: Final = False

    def __init__(self, into: Path, means: Means) -> None:
        self._into, self._means = into, means

    def add(self, case: Exported) -> int:
        """Write a case.

        Args:
            case: The case.

        Returns:
            How many files.

        Raises:
            BlobMissing: If an image is gone.
            LeftOut: If nobody signed it: a structured report names who did.
            StoreLost: If the store does not answer.
        """
        if not case.answered.signed:
            raise LeftOut("it was released unsigned: a structured report names who signed it")
        means = self._means
        instances = instances_of(case, means.store.get)
        studies = {each.study for each in instances}
        study = studies.pop() if len(studies) == 1 else uid_of(case.answered.case_id, "study")
        pdfs = {
            language: pdf_of(case, means.printed(case, language), language=language, study=study, zone=means.zone)
            for language in means.languages
        }
        evidence = [*pdfs.values(), *(self._header(each) for each in instances if each.real)]
        report = structured_report(case, evidence=evidence, instances=instances, zone=means.zone)
        files = {f"report_{language}.dcm": _bytes(made) for language, made in pdfs.items()}
        return written(self._into / case.answered.case_id, files | {"findings.dcm": _bytes(report)})

    def close(self) -> str:
        """End it.

        Returns:
            Nothing: there are no versions.
        """
        return ""

    def _header(self, instance: Instance) -> "Dataset":
        """What is needed of an image to refer to it."""
        from pydicom import Dataset

        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = instance.sop_class, instance.uid
        made.StudyInstanceUID, made.SeriesInstanceUID = instance.study, instance.series
        return made


def _bytes(made: "Dataset") -> bytes:
    """An object as a file."""
    out = BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()
