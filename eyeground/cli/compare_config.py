"""The keys of a comparison, each with its range and its default."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Ways that need frozen features only.
PROBES = ("probe", "neighbors", "linear")


class _Strict(BaseModel):
    """No unknown keys, and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Initialization(_Strict):
    """Where a network starts.

    Args:
        name: What tables and pictures call it.
        weights: ``random``, a safetensors file, or the folder of a run; not together with ``pretrain``.
        pretrain: A config of ``eyeground pretrain``, relative to the working folder: it is carried out first, once.
        pretrain_keys: Keys of that config to change.
        after: The initialization that the pre-training goes on from, by name.
        against: The initialization to compare with, by name; none = the first one.
        finetune: Keys of the common ``finetune`` to change, such as ``model``.

    Example:
        >>> Initialization(name="random").weights
        'random'

    References:
        Our own.
    """

    name: str = Field(min_length=1, max_length=60)
    weights: str = "random"
    pretrain: Path | None = None
    pretrain_keys: dict[str, Any] = Field(default_factory=dict)
    after: str | None = None
    against: str | None = None
    finetune: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_origin(self) -> "Initialization":
        """Weights come from one place."""
        if self.pretrain and self.weights != "random":
            raise ValueError(f"{self.name}: weights and pretrain both say where it starts; keep one (after= goes on)")
        if (self.after or self.pretrain_keys) and not self.pretrain:
            raise ValueError(f"{self.name}: after and pretrain_keys belong to a pretrain")
        return self


class Way(_Strict):
    """How an initialization is used.

    Args:
        name: ``probe`` (logistic regression on frozen features), ``neighbors`` (kNN on them), ``linear`` (a linear head
            on them, trained by the run's own task, loss and pace), or any name of a fine-tuning.
        finetune: Keys of the common ``finetune`` to change, such as ``layer_decay``.

    Example:
        >>> Way(name="probe").frozen
        True

    References:
        Our own.
    """

    name: str = Field(min_length=1, max_length=40)
    finetune: dict[str, Any] = Field(default_factory=dict)

    @property
    def frozen(self) -> bool:
        """Whether only features are used."""
        return self.name in PROBES


class CompareConfig(_Strict):
    """Everything ``eyeground compare`` can be told.

    Args:
        finetune: Keys of ``eyeground finetune`` that all runs share: data, split, network, pace.
        inits: Initializations to compare.
        ways: Ways to use them: ``probe``, ``neighbors``, ``linear``, ``finetune``, or fine-tunings with keys of their
            own.
        seeds: Seeds; each is a run.
        fractions: Shares of the training patients whose labels are used.
        profiles: Sets of metrics in the table.
        headline: Metric of the verdict.
        resamples: Bootstrap resamples.
        pretrained: Folder of the pre-trainings, shared by comparisons; none = inside ``out``.
        out: The comparison's folder; none = ``runs/<name of the config>``. The same folder goes on where it stopped.

    Example:
        >>> CompareConfig(finetune={"data": "images"}, inits=[{"name": "random"}]).ways[1].name
        'finetune'

    References:
        Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021, for several seeds.
    """

    finetune: dict[str, Any]
    inits: tuple[Initialization, ...] = Field(min_length=1)
    ways: tuple[Way, ...] = (Way(name="probe"), Way(name="finetune"))
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    fractions: tuple[float, ...] = (1.0,)
    profiles: tuple[str, ...] = ("standard",)
    headline: str = "auroc_macro"
    resamples: int = Field(2000, ge=100, le=100_000)
    pretrained: Path | None = None
    out: Path | None = None

    @field_validator("ways", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """A way may be a bare word."""
        return [{"name": each} if isinstance(each, str) else each for each in value] if value else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """A seed twice would be the same run twice."""
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("seeds are different whole numbers from 0")
        return value

    @field_validator("fractions")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Shares of something."""
        if not value or not all(0 < share <= 1 for share in value) or len(set(value)) < len(value):
            raise ValueError("fractions are different numbers in (0, 1]")
        return value

    @model_validator(mode="after")
    def _names(self) -> "CompareConfig":
        """Names differ, and those that are named exist."""
        wrong = []
        for what, names in (("inits", [i.name for i in self.inits]), ("ways", [w.name for w in self.ways])):
            wrong += [f"{what}: {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        known: list[str] = []
        every = [init.name for init in self.inits]
        for init in self.inits:
            if init.after is not None and init.after not in known:
                wrong.append(f"inits: {init.name!r} goes on after {init.after!r}, which must stand above it")
            if init.against is not None and (init.against not in every or init.against == init.name):
                wrong.append(f"inits: {init.name!r} is compared with {init.against!r}, which is no other one")
            known.append(init.name)
        wrong += [f"finetune: {key} is set by the comparison itself" for key in ("weights", "seed", "out")
                  if key in self.finetune]  # fmt: skip
        changed = [self.finetune, *(way.finetune for way in self.ways)]
        changed += [keys for init in self.inits for keys in (init.finetune, init.pretrain_keys)]
        wrong += [f"devices={keys['devices']}: a comparison makes each run in one process; leave devices out"
                  for keys in changed if keys.get("devices", 1) != 1]  # fmt: skip
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def references(self) -> dict[str, str]:
        """Initialization -> the one it is compared with; the first has none unless it says so."""
        first = self.inits[0].name
        found = {init.name: init.against or first for init in self.inits}
        return {name: other for name, other in found.items() if name != other}
