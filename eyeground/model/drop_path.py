"""Which branches of which images a step leaves out, drawn without a framework: the same on all that ask."""

import numpy as np
from numpy.typing import NDArray


def drop_path_factors(*, depth: int, rate: float, images: int, seed: int) -> NDArray[np.float32]:
    """Draw the factors by which each image's branches are multiplied.

    A branch is left out for an image as a whole; where it is kept, it is enlarged so that its mean stays.

    Args:
        depth: Blocks of the network; each has two branches.
        rate: Greatest probability of leaving a branch out, rising linearly with depth from 0, [0, 1).
        images: Images of the batch (N).
        seed: Draws them.

    Returns:
        Shape (depth, 2, N): 0 where a branch is left out, else 1 / (1 - its probability).

    Example:
        >>> drop_path_factors(depth=3, rate=0.5, images=4, seed=0)[:2, 0]
        array([[1.       , 1.       , 1.       , 1.       ],
               [1.3333334, 1.3333334, 1.3333334, 0.       ]], dtype=float32)

    References:
        Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016; rates per block as in timm.
    """
    rates = np.linspace(0, rate, depth)[:, None, None]  # (depth, 1, 1)
    kept = np.random.default_rng(seed).random((depth, 2, images)) >= rates
    return (kept / (1 - rates)).astype(np.float32)
