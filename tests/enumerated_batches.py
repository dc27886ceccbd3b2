"""Brute force for the batch tests: every partner, every weight of a law with few atoms, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from mixup_theory.laws import Law

SCHEMES = [
    ("permutation", "batch"),
    ("permutation", "sample"),
    ("derangement", "batch"),
    ("derangement", "sample"),
    ("flip", "batch"),
    ("flip", "sample"),
    ("flip", "pair"),
    ("roll", "batch"),
    ("roll", "sample"),
    ("independent", "batch"),
    ("independent", "sample"),
    ("resampled", "batch"),
    ("resampled", "sample"),
]


def possible_schemes(*sizes):
    """Return every (partner, lam_per, n) that exists and has few enough outcomes."""
    largest = {"resampled": 3, "independent": 4}
    return [
        (partner, lam_per, n)
        for partner, lam_per in SCHEMES
        for n in sizes
        if n <= largest.get(partner, 5) and (partner != "flip" or n % 2 == 0)
    ]


@dataclass(frozen=True, eq=False)
class Atoms(Law):
    """A law of lam with few atoms, not symmetric unless they are."""

    lam: np.ndarray
    weight: np.ndarray

    def moment(self, k, m=0):
        """Sum over the atoms."""
        return float(self.weight @ (self.lam**k * (1 - self.lam) ** m))

    def expect(self, g, num_nodes=64):
        """Sum over the atoms."""
        return float(self.weight @ np.asarray(g(self.lam)))


def partner_outcomes(n, partner):
    """Equally likely pairs of index tuples."""
    indices = range(n)
    if partner == "resampled":
        return list(product(product(indices, repeat=n), repeat=2))
    if partner == "independent":
        return [(tuple(indices), second) for second in product(indices, repeat=n)]
    orders = list(permutations(indices))
    if partner == "permutation":
        return [(tuple(indices), order) for order in orders]
    if partner == "derangement":
        return [(tuple(indices), order) for order in orders if all(order[i] != i for i in indices)]
    if partner == "flip":
        return [(order, order[::-1]) for order in orders]
    return [(order, order[-1:] + order[:-1]) for order in orders]


def enumerate_batches(x, law, partner, lam_per):
    """Return the mixed batches [outcomes, n, d] and their probabilities."""
    n = len(x)
    pairs = np.array(partner_outcomes(n, partner))  # [P, 2, n]
    draws = {"batch": 1, "sample": n, "pair": n // 2}[lam_per]
    choices = np.array(list(product(range(len(law.lam)), repeat=draws)))
    lam, probability = law.lam[choices], law.weight[choices].prod(axis=1)
    if lam_per == "batch":
        lam = np.repeat(lam, n, axis=1)
    if lam_per == "pair":
        lam = np.concatenate([lam, lam[:, ::-1]], axis=1)
    w = lam[None, :, :, None]
    mixed = w * x[pairs[:, 0]][:, None] + (1 - w) * x[pairs[:, 1]][:, None]
    return mixed.reshape(-1, n, x.shape[1]), np.tile(probability, len(pairs)) / len(pairs)
