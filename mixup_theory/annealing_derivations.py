"""Machine-checked derivations of the annealing results: integrated shrinkage, exact flow, SGD moments."""

from __future__ import annotations

import sympy as sp

from ._checks import check_choice
from .annealing import SCHEDULES
from .derivation import Derivation, Step

__all__ = ["derive_exponential_flow", "derive_integrated_shrink", "derive_sgd_stationary_mse"]


def derive_integrated_shrink(kind: str) -> Derivation:
    r"""Derive the closed form of :math:`\int_0^t s(\alpha(\tau))\,d\tau` for one kind of schedule.

    The result is in the symbols a (alpha0), T and t; "linear" uses the time left :math:`v = T - t`, "cosine"
    :math:`W = \tan(\pi t/2T)`, "exponential" k, "step" and "off-at-epoch" t1; "hesitation" is over the whole run.

    Args:
        kind: One of `SCHEDULES`.

    Returns:
        The derivation.

    Raises:
        ValueError: If `kind` is unknown.

    References:
        theory G.1.

    Example:
        >>> derive_integrated_shrink("constant").verify().result
        t*(a + 1)/(2*a + 1)
    """
    check_choice("kind", kind, SCHEDULES)
    a, t, T, k, t1, v, w, W, x = sp.symbols("a t T k t1 v w W x", positive=True)
    s = sp.Lambda(x, (x + 1) / (2 * x + 1))
    half, root = sp.Rational(1, 2), sp.sqrt(1 + 2 * a)
    tangent = sp.tan(sp.pi * x / (2 * T))
    definition, exact = "definition of the schedule", "exact integration"
    steps: dict[str, tuple[Step, ...]] = {
        "constant": (Step(sp.Integral(s(a), (x, 0, t)), definition), Step(t * s(a), exact)),
        "step": (
            Step(sp.Integral(s(a), (x, 0, t1)) + sp.Integral(s(0), (x, t1, t)), definition),
            Step(t1 * s(a) + t - t1, "s(0) = 1 after the step"),
        ),
        "rising": (
            Step(sp.Integral(s(a * x / T), (x, 0, t)), definition),
            Step(t / 2 + sp.Integral(1 / (2 * (1 + 2 * a * x / T)), (x, 0, t)), "s = 1/2 + 1/(2(2 alpha + 1))"),
            Step(t / 2 + T / (4 * a) * sp.log(1 + 2 * a * t / T), exact),
        ),
        "linear": (
            Step(sp.Integral(s(a * x / T), (x, v, T)), "definition, in the time left x = T - tau"),
            Step((T - v) / 2 + T / (4 * a) * sp.log((1 + 2 * a) / (1 + 2 * a * v / T)), exact),
        ),
        "exponential": (
            Step(sp.Integral(s(a * sp.exp(-k * x)), (x, 0, t)), definition),
            Step(t / 2 + sp.log((sp.exp(k * t) + 2 * a) / (1 + 2 * a)) / (2 * k), exact),
        ),
        "cosine": (
            Step(
                sp.Eq(a / 2 * (1 + sp.cos(sp.pi * x / T)), a / (1 + tangent**2), evaluate=False),
                "half-angle: alpha in w = tan(pi tau / 2T)",
            ),
            Step(sp.Eq(sp.Derivative(tangent, x), sp.pi / (2 * T) * (1 + tangent**2), evaluate=False), "dw / dtau"),
            Step(sp.Eq(s(a / (1 + w**2)), half + (1 + w**2) / (2 * (1 + w**2 + 2 * a)), evaluate=False), "s in w"),
            Step(
                sp.Eq(
                    t / 2 + sp.Integral(T / (sp.pi * (1 + w**2 + 2 * a)), (w, 0, W)),
                    t / 2 + T / (sp.pi * root) * sp.atan(W / root),
                    evaluate=False,
                ),
                "exact integration up to W = tan(pi t / 2T)",
            ),
        ),
        "hesitation": (
            Step(
                T - (1 - s(a)) * (T * 3 / 5 + T * 3 / 20 + sp.Integral((T - x) * 10 / T, (x, T * 9 / 10, T))),
                "three fifths always, half of the next three tenths, then fading",
            ),
            Step(T * (1 - sp.Rational(4, 5) * (1 - s(a))), "exact integration: four fifths of the run are mixed"),
        ),
    }
    assumptions: tuple[str, ...] = ("0 < alpha0 < inf", "0 <= t <= T")
    if kind == "hesitation":
        assumptions = ("whole epochs, as many even as odd ones between three fifths and nine tenths of T",)
    claim = f"Integrated shrinkage of the {kind} schedule."
    return Derivation(claim, assumptions, steps["step" if kind == "off-at-epoch" else kind])


def derive_exponential_flow() -> Derivation:
    r"""Derive the closed form of the annealed flow for :math:`\alpha(t) = \alpha_0 e^{-kt}`.

    In :math:`w = 1/(1+2\alpha) = 2s-1` a particular solution is :math:`-K(1-s)H(w)/(kP)` with the series
    :math:`H = \sum_n \frac{(1-Q)_n}{(P+1)_n} w^n = {}_2F_1(1,1-Q;P+1;w)`; the homogeneous part fits e(0).

    Returns:
        The derivation; its result is e(t) in the symbols a (alpha0), k, t, mu, v, K and e0.

    References:
        theory G.2.

    Example:
        >>> len(derive_exponential_flow().verify().steps)
        5
    """
    a, k, t, v, P, Q, w, K, n = sp.symbols("a k t v P Q w K n", positive=True)
    mu, e0 = sp.symbols("mu e0", real=True)
    H = sp.Function("H")(w)
    path = 1 / (1 + 2 * a * sp.exp(-k * t))
    define = {P: (mu**2 + v / 2) / k, Q: v / (2 * k)}
    rate = mu**2 + v * (1 + w) / 2  # h(s) with s = (1 + w)/2
    loss = (1 - w) / 2

    def coefficient(m: sp.Expr) -> sp.Expr:
        return sp.rf(1 - Q, m) / sp.rf(P + 1, m)

    def particular(x: sp.Expr) -> sp.Expr:
        return (1 - x) / (2 * k * P) * sp.hyper([1, 1 - Q], [P + 1], x)

    decay = sp.exp(-k * P * t) * ((1 + 2 * a) / (sp.exp(k * t) + 2 * a)) ** Q  # exp(-Phi) by integrated shrinkage
    start = 1 / (1 + 2 * a)
    general = decay * (e0 + K * particular(start)) - K * particular(path)
    fitted = decay * e0 - K / (k * P) * (
        (1 - path) / 2 * sp.hyper([1, 1 - Q], [P + 1], path)
        - decay * (1 - start) / 2 * sp.hyper([1, 1 - Q], [P + 1], start)
    )
    steps = (
        Step(sp.Eq(rate, (k * (P + Q * w)).subs(define), evaluate=False), "rate h(s) in w, defining P and Q"),
        Step(sp.Eq(sp.Derivative(path, t), k * path * (1 - path), evaluate=False), "w obeys the logistic equation"),
        Step(
            sp.Eq(
                k * w * (1 - w) * sp.Derivative(loss * H / (k * P), w) + (P + Q * w) * loss * H / P - loss,
                loss / P * (w * (1 - w) * sp.Derivative(H, w) + (P + (Q - 1) * w) * H - P),
                evaluate=False,
            ),
            "- K (1-s) H / (k P) solves the flow iff the bracket vanishes",
        ),
        Step(
            sp.Eq((P + n) * coefficient(n) - (n - Q) * coefficient(n - 1), 0, evaluate=False),
            "coefficient of the n-th power of w in the bracket; for n = 0 it is P - P",
        ),
        Step(
            sp.Eq(general.subs(define), fitted.subs(define), evaluate=False),
            "add the homogeneous solution that starts at e0",
        ),
    )
    assumptions = ("0 < alpha0 < inf", "k > 0", "v > 0", "squared loss without intercept, independent pairs")
    return Derivation("Error of the flow under an exponential schedule.", assumptions, steps)


def derive_sgd_stationary_mse() -> Derivation:
    r"""Derive :math:`E e^2 = \eta Eq^2\tau^2/(2s-3\eta Eq^2\sigma^2)`, batch size 1.

    Returns:
        The derivation; its result is in the symbols alpha, eta, sigma (standard deviation) and tau.

    References:
        theory G.3.

    Example:
        >>> alpha, eta, sigma, tau = sp.symbols("alpha eta sigma tau", positive=True)
        >>> result = derive_sgd_stationary_mse().result
        >>> round(float(result.subs({alpha: 1, eta: 0.05, sigma: sp.sqrt(1.5), tau: sp.sqrt(0.4)})), 6)
        0.007598
    """
    a, eta, sigma, tau, q = sp.symbols("alpha eta sigma tau q", positive=True)
    e, g, r = sp.symbols("e g r", real=True)
    x, residual = sp.sqrt(q) * sigma * g, sp.sqrt(q) * tau * r
    square = sp.expand((e - eta * x * (x * e - residual)) ** 2)
    density = sp.exp(-(g**2) / 2) / sp.sqrt(2 * sp.pi)

    def gaussian(power: int) -> sp.Expr:
        return sp.Integral(g**power * density, (g, -sp.oo, sp.oo))

    one_step = sum(c * gaussian(i) * gaussian(j) for (i, j), c in sp.Poly(square, g, r).terms())
    given_lam = e**2 * (1 - 2 * eta * q * sigma**2 + 3 * eta**2 * q**2 * sigma**4)
    given_lam += eta**2 * q**2 * sigma**2 * tau**2

    def moment(power: int) -> sp.Expr:  # E p^power under Beta(alpha, alpha), p = lam (1 - lam)
        return sp.beta(a + power, a + power) / sp.beta(a, a)

    s, q2 = (a + 1) / (2 * a + 1), (a**2 + 3 * a + 3) / ((2 * a + 1) * (2 * a + 3))
    fixed = eta * q2 * tau**2 / (2 * s - 3 * eta * q2 * sigma**2)
    contraction = 1 - 2 * eta * s * sigma**2 + 3 * eta**2 * q2 * sigma**4
    steps = (
        Step(
            one_step,
            "one step from e given lam: mixed input and residual are Gaussian, variances scaled by q",
        ),
        Step(given_lam, "Gaussian integrals"),
        Step(sp.Eq(1 - 2 * moment(1), s, evaluate=False), "mean of q = 1 - 2p"),
        Step(sp.Eq(1 - 4 * moment(1) + 4 * moment(2), q2, evaluate=False), "mean of q squared"),
        Step(
            sp.Eq(contraction * fixed + eta**2 * q2 * sigma**2 * tau**2, fixed, evaluate=False),
            "fixed point of the averaged step",
        ),
    )
    assumptions = ("x, r Gaussian, centred", "fresh independent pairs, batch size 1", "eta below the stability limit")
    return Derivation("Stationary second moment of SGD with constant alpha.", assumptions, steps)
