"""eyeground data phantom: draw retinal images with known disease and known lesions."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Argument(help="Folder to make: images/, masks/, labels.csv.")],
    modality: Annotated[str, typer.Option(help="fundus or oct.")] = "fundus",
    diseases: Annotated[str, typer.Option(help="Names separated by commas; 'all' for every one.")] = "all",
    patients: Annotated[int, typer.Option(min=1, help="How many; each has two eyes.")] = 100,
    size_px: Annotated[int, typer.Option(min=64, max=2048, help="Side of the images.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Draws everything.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG), lesions outlined.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Draw phantoms: photographs or OCT scans whose disease and lesions are known to the pixel."""
    from eyeground.cli.config import ConfigError
    from eyeground.cli.console import answer, counting
    from eyeground.data import phantom

    if modality not in ("fundus", "oct"):
        raise ConfigError(f"--modality {modality}: it is fundus or oct")
    offered = phantom.FUNDUS_DISEASES if modality == "fundus" else phantom.OCT_DISEASES
    chosen = offered if diseases == "all" else tuple(name.strip() for name in diseases.split(","))
    if unknown := [name for name in chosen if name not in offered]:
        raise ConfigError(
            f"--diseases: no {', '.join(unknown)} among {modality} phantoms; there are {', '.join(offered)}"
        )
    with counting("drawing", patients * 2) as done:
        table = phantom.write_set(
            out,
            modality=modality,  # type: ignore[arg-type] # checked above
            diseases=chosen,
            patients=patients,
            seed=seed,
            size_px=size_px,
            progress=done,
        )
    if sheet is not None:
        from PIL import Image

        draw = phantom.draw_fundus if modality == "fundus" else phantom.draw_oct
        drawn = [draw(name, seed=seed * 1000 + number) for number in range(3) for name in chosen]
        Image.fromarray(phantom.sheet(drawn, columns=min(len(chosen), 6), mark=True)).save(sheet, format="PNG")
    answer({"out": str(out), "table": str(table)}, as_json=as_json, last_line=f"table: {table}")
