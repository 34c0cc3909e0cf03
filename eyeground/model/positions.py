"""Fixed positions of patches, for transformers that do not learn them."""

import numpy as np
from numpy.typing import NDArray


def sincos_positions(width: int, grid: int, class_token: bool = True) -> NDArray[np.float32]:
    """Tell every patch of a square grid where it lies, by sines and cosines.

    The first half of a row encodes the patch's column, the second its row. Each half holds the sines of the place at
    ``width // 4`` frequencies falling from 1 towards 1/10000, then the cosines.

    Args:
        width: Length of a token (D), a multiple of 4.
        grid: Patches along one side, at least 1.
        class_token: Put a row of zeros, for the class token, before the patches.

    Returns:
        Positions, shape (L, D) or (1 + L, D), L = ``grid ** 2``, row by row as the patches are.

    Raises:
        ValueError: If the width is no multiple of 4, or the grid has no patch.

    Example:
        >>> sincos_positions(4, grid=2).round(2)
        array([[0.  , 0.  , 0.  , 0.  ],
               [0.  , 1.  , 0.  , 1.  ],
               [0.84, 0.54, 0.  , 1.  ],
               [0.  , 1.  , 0.84, 0.54],
               [0.84, 0.54, 0.84, 0.54]], dtype=float32)

    References:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, in two dimensions as in He et al., CVPR 2022.
    """
    if width < 4 or width % 4:
        raise ValueError(f"width is {width}: sin-cos positions need a positive multiple of 4")
    if grid < 1:
        raise ValueError(f"grid is {grid}: it needs at least one patch along a side")
    frequency = 10000.0 ** -(np.arange(width // 4) / (width // 4))  # (D/4,)
    angle = np.arange(grid)[:, None] * frequency  # (grid, D/4)
    along = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)  # (grid, D/2): one axis of the grid
    table = np.concatenate([np.tile(along, (grid, 1)), np.repeat(along, grid, axis=0)], axis=1)  # (L, D)
    if class_token:
        table = np.concatenate([np.zeros((1, width)), table])  # (1 + L, D)
    return table.astype(np.float32)
