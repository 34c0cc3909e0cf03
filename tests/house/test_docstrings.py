"""Every public function, class and method says completely what it takes, gives and refuses."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .checkout import modules

SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Example|References):[ \t]*$", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+)(?: \(.*\))?:", re.MULTILINE)

# What may lack an example, each with the reason.
NO_EXAMPLE = {
    "eyeground.cli.clinic_cases": "needs a database",
    "eyeground.cli.clinic_demo.demo_bundle": "trains a network",
    "eyeground.cli.clinic_demo.send_phantoms": "needs a database",
    "eyeground.cli.clinic_export.export_cases": "needs a database",
    "eyeground.cli.clinic_graders": "needs a bundle",
    "eyeground.cli.clinic_keeping": "needs a database",
    "eyeground.cli.clinic_letters": "needs a database",
    "eyeground.cli.clinic_link": "needs a database",
    "eyeground.cli.clinic_messages": "needs a database",
    "eyeground.cli.clinic_opening": "needs a database",
    "eyeground.cli.clinic_report.write_report": "needs a database",
    "eyeground.cli.clinic_people.add_person": "needs a database",
    "eyeground.cli.clinic_people.give_password": "needs a database",
    "eyeground.cli.clinic_people.give_subject": "needs a database",
    "eyeground.cli.clinic_people.give_token": "needs a database",
    "eyeground.cli.clinic_people.list_people": "needs a database",
    "eyeground.cli.clinic_people.make": "needs a database",
    "eyeground.cli.clinic_people.take_rights": "needs a database",
    "eyeground.model.torch.batch_norm.GatheredBatchNorm": "needs several processes",
    "eyeground.model.torch.processes.Together": "needs several processes",
    "eyeground.model.torch.sharding.shard": "needs several processes",
    "eyeground.clinic.passwords.check_password": "needs a database",
    "eyeground.clinic.passwords.set_password": "needs a database",
    "eyeground.clinic.web.entrance": "needs a browser",
    "eyeground.clinic.web.pages.password": "needs an app",
    "eyeground.clinic.web.pages.sign_in": "needs an app",
    "eyeground.clinic.web.pages.single_sign_on": "needs an app",
    "eyeground.cli.clinic_setup": "needs a database",
    "eyeground.cli.clinic_signing": "needs a database",
    "eyeground.cli.clinic_up": "runs until it is stopped",
    "eyeground.cli.clinic_watch": "needs a database",
    "eyeground.cli.clinic_web": "runs until it is stopped",
    "eyeground.cli.clinic_working": "runs until it is stopped",
    "eyeground.clinic.accounts": "needs a database",
    "eyeground.clinic.answering": "needs a database",
    "eyeground.clinic.archive": "needs a backup",
    "eyeground.clinic.backup": "needs a database",
    "eyeground.clinic.cases": "needs a database",
    "eyeground.clinic.dead_letters": "needs a database",
    "eyeground.clinic.exported.gather": "needs a database",
    "eyeground.clinic.exports.export": "needs a database",
    "eyeground.clinic.drafting": "needs a database",
    "eyeground.clinic.draft_facts.narrative_plan": "needs a database",
    "eyeground.clinic.draft_facts.outdated": "needs a database",
    "eyeground.clinic.signature.signature_of": "needs a database",
    "eyeground.clinic.drafts": "needs a database",
    "eyeground.clinic.earlier": "needs a database",
    "eyeground.clinic.eyes": "needs a database",
    "eyeground.clinic.first_reads.drop_first_reads": "needs a database",
    "eyeground.clinic.first_reads.first_read_of": "needs a database",
    "eyeground.clinic.first_reads.is_blind": "needs a database",
    "eyeground.clinic.first_reads.is_shown": "needs a database",
    "eyeground.clinic.first_reads.keep_first_read": "needs a database",
    "eyeground.clinic.intake": "needs a database",
    "eyeground.clinic.jobs": "needs a database",
    "eyeground.clinic.outbox": "needs a database",
    "eyeground.clinic.patient_links.PatientLinks": "needs a database",
    "eyeground.clinic.patient_links.link_ends": "needs a database",
    "eyeground.clinic.patient_view.patient_report": "needs a database",
    "eyeground.clinic.reading": "needs a database",
    "eyeground.clinic.reports": "needs a database",
    "eyeground.clinic.retention": "needs a database",
    "eyeground.clinic.reviews": "needs a database",
    "eyeground.clinic.service": "needs a database",
    "eyeground.clinic.sessions": "needs a database",
    "eyeground.clinic.staff": "needs a database",
    "eyeground.clinic.statistics.rows": "needs a database",
    "eyeground.clinic.statistics.statistician": "needs a database",
    "eyeground.clinic.signings.signings_of": "needs a database",
    "eyeground.clinic.views": "needs a database",
    "eyeground.clinic.waiting.count_waiting": "needs a database",
    "eyeground.clinic.work_list.Line": "has twenty-five fields",
    "eyeground.clinic.work_list.work_list": "needs a database",
    "eyeground.clinic.worker": "needs a database",
    "eyeground.clinic.db.database": "needs a database",
    "eyeground.clinic.db.lease": "needs a database",
    "eyeground.clinic.db.table": "nothing but columns",
    "eyeground.clinic.db.opinions": "nothing but columns",
    "eyeground.clinic.db.people": "nothing but columns",
    "eyeground.clinic.db.tables": "nothing but columns",
    "eyeground.clinic.db.migrations.versions.0001_first_tables": "is carried out by a migration",
    "eyeground.clinic.db.migrations.versions.0002_faces": "is carried out by a migration",
    "eyeground.clinic.web.app.make_app": "needs a database",
    "eyeground.clinic.web.desk": "needs a database",
    "eyeground.clinic.web.doors.add_door": "needs a database",
    "eyeground.clinic.web.figures.count": "needs a database",
    "eyeground.clinic.web.pages.accounts": "needs an app",
    "eyeground.clinic.web.pages.dead_letters": "needs an app",
    "eyeground.clinic.web.case_sheet.sheet_of": "needs a case",
    "eyeground.clinic.web.pages.case": "needs an app",
    "eyeground.clinic.web.owning": "needs a database",
    "eyeground.clinic.web.pages.work": "needs an app",
    "eyeground.clinic.web.pages.home": "needs an app",
    "eyeground.clinic.web.pages.statistics": "needs an app",
    "eyeground.clinic.web.paging.Pages": "needs a request",
    "eyeground.clinic.web.pages.patient": "needs an app",
    "eyeground.clinic.web.patient_reading": "needs an app",
    "eyeground.clinic.web.refused_page": "needs an app",
    "eyeground.clinic.web.routes.patient": "needs a database",
    "eyeground.clinic.web.routes.accounts": "needs a database",
    "eyeground.clinic.web.work_rows.Row": "needs a line",
    "eyeground.clinic.web.routes.cases": "needs a database",
    "eyeground.clinic.web.routes.checks": "needs a database",
    "eyeground.clinic.web.routes.dead_letters": "needs a database",
    "eyeground.clinic.web.routes.exports": "needs a database",
    "eyeground.clinic.web.routes.drafts": "needs a database",
    "eyeground.clinic.web.routes.health": "needs a database",
    "eyeground.clinic.web.routes.report_files": "needs a database",
    "eyeground.clinic.web.routes.images": "needs a database",
    "eyeground.clinic.web.routes.reports": "needs a database",
    "eyeground.clinic.web.routes.screenings": "needs a database",
    "eyeground.clinic.web.routes.uploads": "needs a database",
    "eyeground.cli.answers": "needs a trained run",
    "eyeground.cli.converting": "needs a weights file",
    "eyeground.cli.comparing.run_comparison": "trains networks",
    "eyeground.cli.dataset": "needs a folder of images",
    "eyeground.cli.explaining": "needs a trained run",
    "eyeground.cli.map_sanity": "needs a trained run",
    "eyeground.cli.opened": "needs a trained run",
    "eyeground.cli.packing": "needs a trained run",
    "eyeground.cli.proving": "needs a trained run",
    "eyeground.cli.serving": "needs a bundle",
    "eyeground.cli.similar": "needs a trained run",
    "eyeground.serve.batch.answer_files": "needs images",
    "eyeground.serve.bundle.Bundle": "needs a bundle",
    "eyeground.serve.card.render_card": "needs a bundle",
    "eyeground.serve.looking": "needs a trained network",
    "eyeground.serve.patients.write_patients": "needs answers",
    "eyeground.serve.predictor.Answer": "is shown in Predictor's",
    "eyeground.cli.experiment.carry_out": "trains a network",
    "eyeground.cli.experiment.run_experiment": "trains a network",
    "eyeground.cli.features.dataset_of": "needs a folder of images",
    "eyeground.cli.features.features_of": "needs a folder of images",
    "eyeground.cli.features.write_features": "needs a folder of images",
    "eyeground.cli.initializations.origins": "needs a folder of images",
    "eyeground.cli.inspection": "needs a folder of images",
    "eyeground.cli.results.Origin": "nothing but facts about a run",
    "eyeground.cli.results.judge": "needs a trained run",
    "eyeground.cli.judgment.judge_on": "needs a trained run",
    "eyeground.cli.prediction.predict_split": "needs a trained run",
    "eyeground.cli.prediction.write_heads": "needs predictions",
    "eyeground.cli.objective.task_of": "needs an open data set",
    "eyeground.cli.objective.objective_of": "needs an open data set",
    "eyeground.cli.label_fraction.share_labels": "needs an open data set",
    "eyeground.cli.linear.fit_linear": "needs features",
    "eyeground.cli.merging.merge_run": "needs a trained run",
    "eyeground.cli.metrics_table.row_of": "needs predictions",
    "eyeground.cli.main.main": "is the program itself",
    "eyeground.cli.pretraining": "trains a network",
    "eyeground.cli.probing.run_probe": "needs a folder of images",
    "eyeground.cli.reconstruction.reconstruct_images": "needs a trained run",
    "eyeground.cli.reproducing.reproduce_sets": "trains networks",
    "eyeground.cli.trained.Trained": "needs a trained run",
    "eyeground.cli.trained.open_run": "needs a trained run",
    "eyeground.cli.trained.weights_of_run": "needs a trained run",
    "eyeground.cli.training": "needs a folder of images",
    "eyeground.cli.unlabelled": "needs a folder of images",
    "eyeground.cli.zoo.fetch_release": "needs the hub",
    "eyeground.model.fetch.fetch": "needs the hub",
    "eyeground.model.hub.announce": "needs the hub",
    "eyeground.model.hub.download": "needs the hub",
    "eyeground.model.certificate.Certificate": "nothing but facts about a proof",
    "eyeground.model.certificate.write_certificate": "needs a proof",
    "eyeground.model.conversion.WeightsFile": "needs a weights file",
    "eyeground.model.conversion.convert": "needs a weights file",
    "eyeground.model.conversion.verify": "needs a weights file",
    "eyeground.model.environment.command_of": "needs a framework that may not be installed",
    "eyeground.model.examination.examine_training": "trains a network",
    "eyeground.model.mindspore.engine": "runs in MindSpore's own process",
    "eyeground.model.mindspore.learner": "runs in MindSpore's own process",
    "eyeground.model.mindspore.vit": "runs in MindSpore's own process",
    "eyeground.model.paddle.engine": "runs in Paddle's own process",
    "eyeground.model.paddle.learner": "runs in Paddle's own process",
    "eyeground.model.paddle.vit": "runs in Paddle's own process",
    "eyeground.model.remote.RemoteEngine": "needs a framework that may not be installed",
    "eyeground.model.showing.run_file": "needs a weights file",
    "eyeground.train.finetune.finetune": "trains a network",
    "eyeground.train.loop.Run": "needs an engine and everything around it",
    "eyeground.train.loop.run": "trains a network",
    "eyeground.train.pretrain.pretrain": "trains a network",
}


@dataclass(frozen=True)
class Documented:
    """One thing that needs a docstring."""

    module: str
    name: str
    node: ast.FunctionDef | ast.ClassDef
    owner: ast.ClassDef | None = None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def text(self) -> str:
        """The docstring without its indentation."""
        return ast.get_docstring(self.node) or ""

    @property
    def sections(self) -> dict[str, str]:
        """Heading -> what stands below it."""
        marks = list(SECTION.finditer(self.text))
        ends = [*(mark.start() for mark in marks), len(self.text)][1:]
        return {mark[1]: self.text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)}

    @property
    def summary(self) -> str:
        """What comes before the first section."""
        found = SECTION.search(self.text)
        return self.text[: found.start()].strip() if found else self.text.strip()


def _bases(node: ast.ClassDef) -> set[str]:
    """Last words of the names of a class's bases."""
    return {ast.unparse(base).split("[")[0].rpartition(".")[2] for base in node.bases}


def _all() -> Iterator[Documented]:
    """Everything public, from the syntax alone."""
    for module, tree in modules().items():
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            yield Documented(module, node.name, node)
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield Documented(module, f"{node.name}.{inner.name}", inner, node)


EVERYTHING = list(_all())
CLASSES = {each.node.name: each.node for each in EVERYTHING if isinstance(each.node, ast.ClassDef)}


def _is_exception(node: ast.ClassDef) -> bool:
    """Whether it is an error, ours or derived from one of ours."""
    return any(
        name.endswith(("Error", "Exception", "Warning")) or (name in CLASSES and _is_exception(CLASSES[name]))
        for name in _bases(node)
    )


# What a Protocol's method means is said once, in the Protocol.
PROMISED = {
    inner.name
    for node in CLASSES.values()
    if "Protocol" in _bases(node)
    for inner in node.body
    if isinstance(inner, ast.FunctionDef)
}


def _parameters(node: ast.FunctionDef) -> list[str]:
    """Names of the parameters, self and cls left out."""
    given = node.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    named += [each.arg for each in (given.vararg, given.kwarg) if each]
    return [name for name in named if name not in ("self", "cls")]


def _fields(node: ast.ClassDef) -> list[str]:
    """What a class is made with: its __init__'s parameters, or the fields of a dataclass, tuple or pydantic model."""
    made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if made:
        return _parameters(made[0])
    return [
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not each.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(each.annotation)
    ]


def _own(node: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        yield each
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(each)


def _raised(node: ast.FunctionDef) -> set[str]:
    """Exceptions that the function itself raises by name and does not catch."""
    caught = {
        ast.unparse(kind).rpartition(".")[2]
        for each in _own(node)
        if isinstance(each, ast.Try)
        for handler in each.handlers
        if handler.type is not None
        for kind in (handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type])
    }
    found = set()
    for each in _own(node):
        if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call):
            found.add(ast.unparse(each.exc.func).rpartition(".")[2])
    return {name for name in found if name[:1].isupper() and name not in caught}


def _faults(each: Documented) -> list[str]:
    """What a docstring lacks."""
    node, sections = each.node, each.sections
    if not each.summary:
        return ["has no docstring"]
    faults = []
    first = each.summary.splitlines()[0]
    if not first.endswith((".", ":", "?")) or len(first) > 117:
        faults.append("the first line is no whole sentence on one line")
    if isinstance(node, ast.ClassDef):
        if _is_exception(node) or "Protocol" in _bases(node):
            return faults
        wanted = _fields(node)
    else:
        promised = each.owner is not None and (
            "Protocol" in _bases(each.owner) or (node.name in PROMISED and "Args" not in sections)
        )
        if promised or (each.module.startswith("eyeground.cli.commands.") and node.name == "command"):
            return faults
        wanted = _parameters(node)
        small = each.owner is not None and not wanted
        gives = ast.unparse(node.returns) if node.returns else "None"
        yields = any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own(node))
        heading = "Yields" if yields else "Returns"
        if gives != "None" and heading not in sections and not small:
            faults.append(f"has no '{heading}:'")
        if _raised(node) - set(re.findall(r"\w+", sections.get("Raises", ""))) and not small:
            faults.append(f"'Raises:' does not name {', '.join(sorted(_raised(node)))}")
    told = [name.lstrip("*") for name in ENTRY.findall(sections.get("Args", ""))]
    if sorted(told) != sorted(wanted):
        faults.append(f"'Args:' names {told}, not {wanted}")
    if each.owner is None:
        if ">>> " not in sections.get("Example", "") and not {str(each), each.module} & set(NO_EXAMPLE):
            faults.append("has no 'Example:' with >>> lines")
        if not sections.get("References", "").strip():
            faults.append("has no 'References:'")
    order = [mark[1] for mark in SECTION.finditer(each.text)]
    if order != sorted(order, key=["Args", "Returns", "Yields", "Raises", "Example", "References"].index):
        faults.append(f"its sections stand in the order {order}")
    return faults


def test_everything_public_is_found() -> None:
    names = {str(each) for each in EVERYTHING}
    assert {"eyeground.pick.pick", "eyeground.train.journal.Journal.write"} <= names
    assert len(names) > 250


@pytest.mark.parametrize("module", sorted({each.module for each in EVERYTHING}))
def test_docstrings_are_complete(module: str) -> None:
    wrong = {each.name: _faults(each) for each in EVERYTHING if each.module == module}
    assert {name: faults for name, faults in wrong.items() if faults} == {}


def test_no_exemption_is_left_over() -> None:
    lacking = [each for each in EVERYTHING if each.owner is None and ">>> " not in each.sections.get("Example", "")]
    assert set(NO_EXAMPLE) <= {str(each) for each in lacking} | {each.module for each in lacking}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(a: int) -> None:\n    '''Do it.'''", "'Args:' names [], not ['a']"),
        ("def f() -> int:\n    '''Do it.'''", "has no 'Returns:'"),
        ("def f() -> None:\n    '''Do it.'''\n    raise KeyError('a')", "'Raises:' does not name KeyError"),
        ("def f() -> None:\n    pass", "has no docstring"),
        ("class A:\n    '''A thing.'''\n    def __init__(self, b: int) -> None: ...", "'Args:' names [], not ['b']"),
        ("def f() -> None:\n    '''Do it.'''", "has no 'Example:' with >>> lines"),
    ],
)
def test_the_rule_finds_what_it_is_for(source: str, fault: str) -> None:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    assert fault in _faults(Documented("eyeground.data.made_up", "f", node))
