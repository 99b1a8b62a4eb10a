"""The quantization scale of least squares: the one whose levels are nearest to a tensor's weights."""

import numpy as np

CANDIDATES = 96  # scales that the scan begins from, where the sweep would be too long


def best_scale(values, counts, level_grid, room):
    """The scale of least squares.

    Solves `argmin_q sum_j c_j min_m (v_j - q m)^2` over `q > 0`, `m` on the grid. The level of a value changes only
    where `v_j / q` passes the middle between two levels. Where there are no more than `room` such points all are tried
    (the best scale of an assignment is `<v, m> / <m, m>`): the minimum is exact. Else a scan over scales finds where
    to begin, and assignment and scale alternate to a fixed point.

    Args:
        values: float64 array, not negative.
        counts: float64 array, how often each occurs.
        level_grid: float64 array, what the levels are multiples of, rising; 0 is its first where it is a level.
        room: int, how many points may be tried.

    Returns:
        float, 0 for values that are all 0.
    """
    if not values.any():
        return 0.0
    return (_sweep if values.size * (len(level_grid) - 1) <= room else _scan)(values, counts, level_grid)


def _sweep(values, counts, level_grid):
    """From a scale so large that all are on the first level, down: at each point one value rises by a level."""
    middles = (level_grid[1:] + level_grid[:-1]) / 2
    order = np.argsort(-(values[:, None] / middles).reshape(-1), kind="stable")
    mass = (values * counts)[:, None] * np.diff(level_grid)
    squares = counts[:, None] * np.diff(level_grid**2)
    along = np.cumsum(np.concatenate([[level_grid[0] * (values @ counts)], mass.reshape(-1)[order]]))
    within = np.cumsum(np.concatenate([[level_grid[0] ** 2 * counts.sum()], squares.reshape(-1)[order]]))
    gains = np.divide(along**2, within, out=np.zeros_like(along), where=within > 0)
    best = np.argmax(gains)
    return float(along[best] / within[best])


def _scan(values, counts, level_grid):
    anchored = values.max() / level_grid[-1]
    tried = [_refit(values, counts, level_grid, q) for q in anchored * np.geomspace(1 / 32, 1.1, CANDIDATES)]
    gain, scale = max(tried)
    while True:
        better, refitted = _refit(values, counts, level_grid, scale)
        if better <= gain * (1 + 1e-12):
            return float(scale)
        gain, scale = better, refitted


def _refit(values, counts, level_grid, scale):
    """What the assignment at a scale gains over all zeros with its own best scale, and that scale."""
    levels = level_grid[np.searchsorted((level_grid[1:] + level_grid[:-1]) / 2 * scale, values)]
    along, within = (values * counts) @ levels, counts @ levels**2
    return (along**2 / within, along / within) if within else (0.0, scale)
