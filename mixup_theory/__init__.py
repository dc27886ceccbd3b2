r"""Mixup, exactly: means, covariances, gradients, penalties and decisions, and how wrong the sayings about them are.

Mixup in ten lines (Zhang et al. 2018), as `mixing.mix` does it:

    >>> import numpy as np
    >>> from mixup_theory.mixing import draw_lam, draw_partner, blend, one_hot
    >>> rng = np.random.default_rng(0)
    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 1])
    >>> partner = draw_partner(rng, len(x), "permutation")  # j for every i
    >>> lam = draw_lam(rng, len(x), alpha=1.0)  # one weight for the batch, Beta(alpha, alpha)
    >>> x_mixed = blend(x, lam, partner)  # lam x_i + (1 - lam) x_j
    >>> y_mixed = blend(one_hot(y, 2, x), lam, partner)  # the same lam, the same partner
    >>> bool(np.allclose(x_mixed.mean(), x.mean()))  # one lam per batch keeps the mean exactly
    True

Notation, once for the whole package. Papers disagree on which example carries lam; here it is always the first.

==============  =============================================  ===================================================
code            symbol and meaning                             the same thing elsewhere
==============  =============================================  ===================================================
`alpha`         concentration of Beta(alpha, alpha), in        alpha (Zhang 2018, Thulasidasan 2019, Verma 2019);
                [0, inf]; 0 is ERM, inf always blends halves   zeta or (alpha, beta) in Zhang 2021; gamma in Guo 2019
`lam`           lambda, weight of the first example            lambda; theta in Carratino 2022
`1 - lam`       weight of the partner                          kept separately by `weights.sample_lam`
`p`, `q`        lam (1 - lam) and lam^2 + (1 - lam)^2          --
`s`             shrink factor E q = (alpha+1)/(2 alpha+1)      E[theta]-like shrinkage in Carratino 2022 is E max
`lam_max`       max(lam, 1 - lam) in place of lam              fastai's convention; theta of Carratino 2022
`lam_per`       batch, sample, pair: who shares one lam        timm modes batch, elem, pair
`partner`       law of j: independent, permutation,            independent pairs in every theorem; randperm, flip
                derangement, flip, roll                        (timm), roll (torchvision) in code
`Lambda`        Beta(alpha + 1, alpha), the size-biased law    lambda ~ D~ in Zhang 2021, lemma 3.1
`g*`            E[mixed label | mixed input], the optimum      f^* (Chidambaram 2022)
`rho_2`         P(partner of my partner is me)                 --
==============  =============================================  ===================================================

Sections "theory A.1" and so on in docstrings follow the specification that the oracles in tests/oracles.json come from.
Importing the package or any theory module does not import torch; what needs training lives in `experiments`.
"""

__version__ = "0.1.0"
