"""The keys of a fine-tuning, each with its range and its default."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from eyeground.cli.config import RunConfig, Strict
from eyeground.data.balance import Strategy, Weighting, check_strategies
from eyeground.data.task import Kind, TaskName
from eyeground.model.adaptation import Way
from eyeground.model.optimization import Framework


class HeadKeys(Strict):
    """One of several heads.

    Args:
        name: What it is called.
        kind: ``yes_no``, ``grades``, ``classes`` or ``quantity``.
        column: Column of the table that tells its truth; none = its name. An empty cell is a missing label.
        classes: Names of classes or grades in order; of grades 0 to 4 where not said.
        low: Least value of a quantity.
        high: Greatest value of a quantity.
        unit: Unit of a quantity.
        weight: Share in the loss.

    Example:
        >>> HeadKeys(name="DR", kind="grades").classes
        ('0', '1', '2', '3', '4')

    References:
        Our own.
    """

    name: str = Field(min_length=1, max_length=60)
    kind: Kind = "yes_no"
    column: str = ""
    classes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""
    weight: float = Field(1.0, gt=0)

    @field_validator("classes", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """Grades may be written as numbers."""
        return [str(item) if isinstance(item, int) else item for item in value] if isinstance(value, list) else value

    @model_validator(mode="before")
    @classmethod
    def _icdr(cls, values: Any) -> Any:
        """Grades are ICDR's where nothing else is said."""
        if isinstance(values, dict) and values.get("kind") == "grades" and not values.get("classes"):
            return {**values, "classes": ["0", "1", "2", "3", "4"]}
        return values

    @model_validator(mode="after")
    def _of_its_kind(self) -> "HeadKeys":
        """Refuse keys that would change nothing."""
        of_quantity = [key for key in ("low", "high", "unit") if getattr(self, key) not in (None, "")]
        if self.kind != "quantity" and of_quantity:
            raise ValueError(f"{', '.join(of_quantity)} belong to kind: quantity, not to kind: {self.kind}")
        if self.kind == "yes_no" and self.classes:
            raise ValueError("classes belong to kind: classes or grades, not to kind: yes_no")
        return self


class FinetuneConfig(RunConfig):
    """Everything ``eyeground finetune`` can be told; the defaults are RETFound's recipe of 2025-04.

    The keys of ``RunConfig``, and:

    Args:
        task: ``multiclass``; ``ordinal`` (grades, each more than the one before); ``multilabel`` (``classes`` names
            columns of 0 and 1); ``regression`` (the label is a number); ``heads``: several at once. A missing label is
            an empty cell.
        classes: Class names in clinical order; none = from the labels.
        heads: With ``task: heads``: each with ``name``, ``kind`` and what belongs to it.
        scale: With ``task: regression``: least and greatest value.
        unit: With ``task: regression``: unit, for tables and plots.
        ordered: Whether the classes are grades; none = yes when all labels are whole numbers.
        split: Ratios train:val:test such as ``60:20:20``, a split file, ``source`` to take what the data says, or
            ``auto``: what the data says, otherwise 60:20:20.
        split_seed: Draws the split; apart from ``seed``, so that runs with other seeds are judged on the same patients.
        val_fraction: Share of training patients held out where the data has train and test only.
        fc_norm_passes: 1, or 2 for checkpoints fine-tuned by RETFound's 2025 code.
        layer_decay: Learning-rate factor per layer counted from the head; 0.65, but 1 with ``adapt`` = ``head``,
            ``bitfit``, ``lora`` or ``adapter``.
        label_smoothing: Share of the truth spread over all classes.
        mixup: Beta parameter, 0 = off.
        cutmix: Beta parameter, 0 = off.
        select_by: What chooses the best epoch: ``mean`` = (macro F1 + macro AUROC + kappa) / 3, or one metric's name.
        patience: Epochs without improvement before stopping, 0 = never.
        resamples: Bootstrap resamples of the intervals.
        engine: ``torch``, ``paddle`` or ``mindspore``: the same recipe, batches and starting weights in each.
        adapt: What learns: ``full``, ``head``, ``last_n`` (blocks, final norm and head), ``gradual`` (final norm and
            head, then one block more every ``gradual_epochs``), ``bitfit`` (biases), ``lora``, ``adapter``. All but
            ``full`` need torch.
        last_blocks: With ``last_n``: how many blocks or stages.
        gradual_epochs: With ``gradual``: epochs from one block to the next.
        lora_rank: With ``lora``: rank of the added matrices.
        lora_alpha: With ``lora``: they count alpha / rank.
        lora_dropout: With ``lora``: dropout before them.
        lora_targets: With ``lora``: ends of the names of the layers that get them.
        adapter_width: With ``adapter``: width of the bottleneck.
        imbalance: ``none``, ``weighted`` (class weights in the loss), ``focal``, ``logit_adjust``,
            ``balanced_sampling`` or ``oversample``; a list of two corrects twice and is refused without
            ``double_correction``.
        class_weights: With ``weighted``: ``balanced``, ``inverse``, ``sqrt_inverse``, ``effective``, or a weight for
            each class.
        effective_beta: With ``class_weights: effective``.
        focal_gamma: With ``focal``: power of (1 - p), at least 1.
        logit_tau: With ``logit_adjust``: how far.
        oversample_to: With ``oversample``: least size of a class, as a share of the largest.
        double_correction: Correct imbalance twice, knowing it.

    Example:
        >>> FinetuneConfig(data="images").layer_decay
        0.65

    References:
        RETFound_MAE at 897d71c for the defaults.
    """

    task: TaskName = "multiclass"
    classes: tuple[str, ...] | None = None
    heads: tuple[HeadKeys, ...] = ()
    scale: tuple[float | None, float | None] = (None, None)
    unit: str = ""
    ordered: bool | None = None
    split: str = "auto"
    split_seed: int = Field(0, ge=0)
    val_fraction: float = Field(0.2, gt=0, lt=1)
    fc_norm_passes: Literal[1, 2] = 1
    layer_decay: float = Field(0.65, gt=0, le=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    select_by: str = "mean"
    patience: int = Field(0, ge=0)
    resamples: int = Field(2000, ge=100, le=100_000)
    engine: Framework = "torch"

    adapt: Way = "full"
    last_blocks: int = Field(2, ge=1)
    gradual_epochs: int = Field(1, ge=1)
    lora_rank: int = Field(8, ge=1)
    lora_alpha: float = Field(16.0, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    lora_targets: tuple[str, ...] = ("attn.qkv", "attn.proj")
    adapter_width: int = Field(64, ge=1)

    imbalance: tuple[Strategy, ...] = Field(("none",), min_length=1)
    class_weights: Weighting | dict[str, float] = "balanced"
    effective_beta: float = Field(0.999, ge=0, lt=1)
    focal_gamma: float = Field(2.0, ge=1)
    logit_tau: float = Field(1.0, gt=0)
    oversample_to: float = Field(1.0, gt=0, le=1)
    double_correction: bool = False

    @property
    def graded(self) -> bool | None:
        """Whether the classes are grades; those listed for an ordinal task are; None = the labels tell."""
        return True if self.task == "ordinal" and self.classes else self.ordered

    @field_validator("classes", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """Grades may be written as numbers."""
        return [str(item) if isinstance(item, int) else item for item in value] if isinstance(value, list) else value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _named_by_words(cls, value: Any) -> Any:
        """Grades may be written as numbers; a weight is above 0."""
        if not isinstance(value, dict):
            return value
        if light := [str(name) for name, weight in value.items() if isinstance(weight, int | float) and weight <= 0]:
            raise ValueError(f"the weight of {', '.join(light)} must be above 0")
        return {str(name): weight for name, weight in value.items()}

    @field_validator("imbalance", mode="before")
    @classmethod
    def _one_answer(cls, value: Any) -> Any:
        """Take a bare word for a list of one."""
        return [value] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _default_decay(cls, values: Any) -> Any:
        """Where the backbone stays as it is, the layers that are added to it all learn alike."""
        if isinstance(values, dict) and values.get("adapt") in ("head", "bitfit", "lora", "adapter"):
            return {"layer_decay": 1.0, **values}
        return values

    @model_validator(mode="after")
    def _belongs(self) -> "FinetuneConfig":
        """Refuse keys that would change nothing, and imbalance corrected twice."""
        wrong = []
        if self.task == "heads" and not self.heads:
            wrong.append("task: heads needs heads, such as heads: [{name: AMD}, {name: DR, kind: grades}]")
        if self.heads and self.task != "heads":
            wrong.append(f"heads belong to task: heads, not to task: {self.task}")
        if self.task == "multilabel" and not self.classes:
            wrong.append("task: multilabel needs classes: the names of the columns that hold 0 and 1")
        if self.task in ("regression", "heads") and self.classes:
            wrong.append(f"classes do not belong to task: {self.task}")
        if self.task != "regression" and (self.scale != (None, None) or self.unit):
            wrong.append("scale and unit belong to task: regression; a head has low, high and unit of its own")
        if (self.mixup or self.cutmix) and self.task in ("ordinal", "regression"):
            wrong.append(f"mixup and cutmix blend classes, which task: {self.task} has not")
        if self.task not in ("multiclass", "ordinal") and self.ordered is not None:
            wrong.append(f"ordered belongs to classes, not to task: {self.task}")
        if self.task == "regression" and self.label_smoothing:
            wrong.append("label_smoothing spreads the truth over classes, which task: regression has not")
        if len(heads := self.heads or (self.classes or () if self.task == "multilabel" else ())) > 1:
            named = [source.name or source.path.name for source in self.data if source.label]
            wrong += [f"label of {named[0]} is not read: {len(heads)} heads have a column each"] if named else []
        plain = set(self.imbalance) <= {"none", "balanced_sampling", "oversample"}
        if self.engine != "torch" and not (self.adapt == "full" and self.task == "multiclass" and plain):
            wrong.append(
                f"engine={self.engine} offers task=multiclass, adapt=full and the plain loss (imbalance by sampling); "
                "engine=torch offers all"
            )
        special = [key for key in ("step_in_backward", "compiled") if getattr(self, key)]
        special += [f"devices={self.devices}"] if self.devices > 1 else []
        if self.engine != "torch" and special:
            wrong.append(f"engine={self.engine} does not offer {', '.join(special)}; engine=torch does")
        for key, (owner, chosen) in _OWNERS.items():
            if key in self.model_fields_set and owner not in chosen(self) and getattr(self, key) != _default(key):
                wrong.append(
                    f"{key} belongs to {owner}, and would change nothing with {', '.join(map(str, chosen(self)))}"
                )
        if {"balanced_sampling", "oversample"} <= set(self.imbalance):
            wrong.append("imbalance names balanced_sampling and oversample, but an epoch is drawn in one way: name one")
        try:
            check_strategies(self.imbalance, double=self.double_correction)
        except ValueError as error:
            wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _pairs(self) -> "FinetuneConfig":
        """Check what only makes sense together."""
        if (self.mixup or self.cutmix) and self.batch_size % 2:
            raise ValueError(
                f"mixup and cutmix pair the images of a batch: batch_size must be even, not {self.batch_size}"
            )
        return self


def _of(key: str) -> Callable[[FinetuneConfig], tuple[str, ...]]:
    """What is chosen under a key, as a list."""

    def chosen(config: FinetuneConfig) -> tuple[str, ...]:
        value = getattr(config, key)
        return value if isinstance(value, tuple) else (value,)

    return chosen


def _default(key: str) -> Any:
    """A key's default."""
    return FinetuneConfig.model_fields[key].default


# Key -> the word it belongs to, and where that word would stand.
_OWNERS: dict[str, tuple[str, Callable[[FinetuneConfig], tuple[str, ...]]]] = {
    "last_blocks": ("last_n", _of("adapt")),
    "gradual_epochs": ("gradual", _of("adapt")),
    "lora_rank": ("lora", _of("adapt")),
    "lora_alpha": ("lora", _of("adapt")),
    "lora_dropout": ("lora", _of("adapt")),
    "lora_targets": ("lora", _of("adapt")),
    "adapter_width": ("adapter", _of("adapt")),
    "class_weights": ("weighted", _of("imbalance")),
    "effective_beta": ("effective", _of("class_weights")),
    "focal_gamma": ("focal", _of("imbalance")),
    "logit_tau": ("logit_adjust", _of("imbalance")),
    "oversample_to": ("oversample", _of("imbalance")),
}
