"""Configurations: every key checked, every problem at once, and shipped ones load."""

from pathlib import Path

import pytest

from eyeground.cli.compare_config import CompareConfig
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config, dump_config, load_config, read_values
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.pretrain_config import PretrainConfig

KINDS = {"finetune": FinetuneConfig, "pretrain": PretrainConfig, "compare": CompareConfig}


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_stay_words(tmp_path: Path) -> None:
    # YAML 1.1 would read the ratios as a number to base 60 and the OCT class "NO" as false.
    path = write(tmp_path, "data: x\nsplit: 60:20:20\nclasses: [AMD, NO, on]\nlr: 1e-4\n")
    config = load_config(path, ["split=6:2:2", "batch_size=8"])
    assert (config.split, config.classes, config.lr, config.batch_size) == ("6:2:2", ("AMD", "NO", "on"), 1e-4, 8)


def test_a_written_config_reads_back_the_same(tmp_path: Path) -> None:
    config = FinetuneConfig(data=[{"path": "眼底", "group": r"^(\d+)_"}], classes=["NO", "1"], split="6:2:2", lr=3e-4)  # type: ignore[arg-type]
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    values = {"data": [{"path": "${NOT_SET_HERE}/x", "tabel": "t.csv"}], "epoch": 3, "lr": -1, "std": [0, 1, 1]}
    with pytest.raises(ConfigError) as caught:
        check_config(values, where="c.yaml")
    told = str(caught.value)
    assert "c.yaml: 5 problems" in told
    assert "${NOT_SET_HERE}: this environment variable is not set" in told
    assert "tabel: unknown key; did you mean 'table'?" in told
    assert "epoch: unknown key; did you mean 'epochs'?" in told
    assert "lr: input should be greater than 0 (got -1)" in told
    assert "std: every channel's std is above 0" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: [", "not YAML"),
        ("- a\n- b\n", "list of 'key: value' lines"),
        ("data: x\nmixup: 0.2\nbatch_size: 3\n", "batch_size must be even, not 3"),
        ("data: [a/x, b/x]\n", "two sources are called 'x'"),
        ("epochs: 3\n", "data: field required"),
    ],
)
def test_bad_files_are_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(write(tmp_path, text))


def test_bad_overrides_and_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path, "data: x\n")
    with pytest.raises(ConfigError, match="'epochs' is not key=value"):
        load_config(path, ["epochs"])
    with pytest.raises(ConfigError, match="epochs has no keys inside"):
        load_config(write(tmp_path, "data: x\nepochs: 3\n"), ["epochs.a=1"])
    with pytest.raises(ConfigError, match=r"Configs there: .*c\.yaml"):
        load_config(tmp_path / "d.yaml")
    assert load_config(path, ["model_options.pad_type=same"]).model_options == {"pad_type": "same"}


def test_the_defaults_are_retfounds_recipe() -> None:
    config = FinetuneConfig(data="x")  # type: ignore[arg-type]
    assert (config.model, config.image_px, config.pool, config.fc_norm_passes) == ("vit_large_patch16", 224, "auto", 1)
    assert (config.epochs, config.batch_size, config.blr, config.warmup_epochs, config.min_lr) == (
        100,
        16,
        5e-3,
        10,
        1e-6,
    )
    assert (config.weight_decay, config.layer_decay, config.drop_path, config.betas) == (0.05, 0.65, 0.2, (0.9, 0.999))
    assert (config.clip_norm, config.label_smoothing, config.mixup, config.cutmix) == (0, 0, 0, 0)
    assert (config.crop_scale, config.horizontal_flip, config.random_erasing) == ((0.08, 1.0), 0.5, 0.25)
    assert config.rand_augment == "rand-m9-mstd0.5-inc1"
    assert config.select_by == "mean"


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_says_how_to_run_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EYEGROUND_REALDATA", "EYEGROUND_READY", "OCTID", "SCANS", "WEIGHTS"):
        monkeypatch.setenv(name, "somewhere")
    monkeypatch.chdir(ROOT)
    verb = path.parent.name
    config = load_config(path, kind=KINDS[verb])
    head = path.read_text(encoding="utf-8").split("\ndata:")[0].split("\nfinetune:")[0]
    assert f"eyeground {verb} {path.relative_to(ROOT)}" in head
    for init in getattr(config, "inits", ()):
        if init.pretrain:  # what a comparison carries out must load as well, with its changes
            values = {**read_values(init.pretrain), **init.pretrain_keys}
            assert check_config(values, where=init.name, kind=PretrainConfig).epochs >= 1
        for way in config.ways:
            values = {**config.finetune, **init.finetune, **way.finetune}
            assert check_config(values, where=init.name).epochs >= 1


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (("step_in_backward=true", "accumulation=2", "clip_norm=1"), FinetuneConfig,
         "step_in_backward needs accumulation=1, not 2, clip_norm=0, not 1"),
        (("step_in_backward=true", "devices=2"), FinetuneConfig, "needs devices=1, not 2"),
        (("engine=paddle", "devices=2", "compiled=true"), FinetuneConfig,
         "engine=paddle does not offer compiled, devices=2"),
        (("method=simclr", "step_in_backward=true"), PretrainConfig, "step_in_backward is for method: mae"),
        (("method=simclr", "compiled=true"), PretrainConfig, "compiled is for method: mae"),
        (("strategy=zero",), FinetuneConfig, "strategy: input should be 'auto', 'ddp' or 'fsdp'"),
    ],
)  # fmt: skip
def test_ways_to_train_that_do_not_go_together_are_refused(
    words: tuple[str, ...], kind: type[FinetuneConfig | PretrainConfig], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(write(tmp_path, "data: x\n"), words, kind=kind)


def test_a_comparison_makes_each_run_in_one_process() -> None:
    inits = [{"name": "a", "pretrain": "p.yaml", "pretrain_keys": {"devices": 4}}]
    values = {"finetune": {"data": "x", "devices": 2}, "inits": inits}
    with pytest.raises(ConfigError, match=r"devices=2: a comparison makes each run in one process.*devices=4"):
        check_config(values, where="c.yaml", kind=CompareConfig)
