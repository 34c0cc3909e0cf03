import numpy as np

from eyeground.data.phantom import draw_oct
from eyeground.images.bscan import measure_scan, without_border


def test_a_phantom_scan_is_whole_and_sharp() -> None:
    measures = measure_scan(draw_oct("normal", seed=2, width_px=400, height_px=310).image.pixels)
    assert measures["columns"] > 0.95
    assert measures["joined"] > 0.9
    assert measures["sharpness"] > 0.2


def test_columns_without_a_retina_are_counted() -> None:
    pixels = draw_oct("normal", seed=2, width_px=400, height_px=310).image.pixels.copy()
    pixels[:, 240:] = 0  # the eye moved out of the scan
    measures = measure_scan(pixels)
    assert abs(measures["columns"] - 0.6) < 0.04
    assert abs(measures["run_end"] - 0.6) < 0.04


def test_a_retina_that_begins_above_the_frame_is_not_whole() -> None:
    pixels = draw_oct("normal", seed=2, width_px=400, height_px=310).image.pixels
    row = int(pixels[:, :, 0].mean(axis=1).argmax())
    assert measure_scan(pixels[row - 4 :])["columns"] < 0.3


def test_only_a_white_border_is_cut_off() -> None:
    pixels = draw_oct("drusen", seed=1, width_px=200, height_px=160).image.pixels
    framed = np.pad(pixels, ((12, 0), (7, 20), (0, 0)), constant_values=255)
    assert np.array_equal(without_border(framed), pixels)
    assert without_border(pixels) is pixels
    white = np.full((50, 50, 3), 255, np.uint8)
    assert without_border(white) is white
