"""Decision rules by simulation: how often they are wrong, how often they decide, how many units would do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mixup_theory.decision import POWER, VERDICTS, decide
from mixup_theory.rules import Equality, Identity, Ordering, Part

NUM_RUNS = 2000
FEW_RUNS = 600  # where an experiment has many parts or a bootstrap


def shares(rule, draw, *, num_runs=NUM_RUNS, **options):
    """Return how often each verdict comes out of simulated experiments."""
    rng = np.random.default_rng(20)
    counts = Counter(decide(rule, draw(rng), **options).verdict for _ in range(num_runs))
    return {verdict: counts[verdict] / num_runs for verdict in VERDICTS}


def share(rule, draw, verdict, **options):
    return shares(rule, draw, **options)[verdict]


def limit(nominal, num_runs=NUM_RUNS):
    return nominal + 6 * np.sqrt(nominal * (1 - nominal) / num_runs)


def normal_parts(means, sd, n, predicted=None):
    return lambda rng: [
        Part.of(f"part {k}", rng.normal(mean, sd, n), predicted) for k, mean in enumerate(np.atleast_1d(means))
    ]


def exact_part(mean, sd, n=6, label="a", predicted=None):
    """Return a part whose sample mean and deviation are exactly these."""
    z = np.random.default_rng(3).normal(size=n)
    z = (z - z.mean()) / z.std(ddof=1)
    return Part.of(label, mean + sd * z, predicted)


# ---- size: at the boundary between true and false, either wrong verdict is rare enough ----


@pytest.mark.parametrize("n", [2, 5, 20])
def test_ordering_size_at_the_minimum_in_both_directions(n):
    found = shares(Ordering(minimum=0.3), normal_parts(0.3, 1.0, n))
    for verdict in ("supported", "refuted"):
        assert abs(found[verdict] - 0.025) < 6 * np.sqrt(0.025 * 0.975 / NUM_RUNS)


@pytest.mark.parametrize("sd", [0.2, 1.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_equality_size_at_the_margin(sd, side):
    draw = normal_parts(1.0 + side * 0.5, sd, 8, predicted=1.0)
    found = shares(Equality(0.5), draw)
    assert found["supported"] <= limit(0.025)
    assert found["refuted"] <= limit(0.05)


def test_equality_size_with_a_margin_far_below_the_noise():
    draw = normal_parts(1.0, 1.0, 8, predicted=1.0)
    found = shares(Equality(1e-6), draw)
    assert found["refuted"] <= limit(0.05)
    assert found["supported"] == 0


def test_many_parts_do_not_raise_the_chance_of_a_wrong_refutation():
    draw = normal_parts([0.5] * 6, 1.0, 8, predicted=0.0)
    found = share(Equality(0.5), draw, "refuted", num_runs=FEW_RUNS)
    assert found <= limit(0.05, FEW_RUNS)
    assert found > 0.005  # Bonferroni is not slack either: about half of 0.05 here, one side only
    assert share(Ordering(), normal_parts([0.0] * 6, 1.0, 8), "refuted", num_runs=FEW_RUNS) <= limit(0.05, FEW_RUNS)


def test_one_part_at_the_margin_spoils_the_support_of_all():
    draw = normal_parts([0, 0, 0, 0.5], 0.1, 8, predicted=0.0)
    assert share(Equality(0.5), draw, "supported", num_runs=FEW_RUNS) <= limit(0.025, FEW_RUNS)
    draw = normal_parts([5, 5, 0], 1.0, 8)
    assert share(Ordering(), draw, "supported", num_runs=FEW_RUNS) <= limit(0.025, FEW_RUNS)


def test_bca_size_with_skewed_units():
    runs = 200

    def draw(rng):
        return [Part.of("a", rng.exponential(size=30) - 1)]

    found = shares(Ordering(method="bca"), draw, num_runs=runs)
    assert max(found["supported"], found["refuted"]) <= limit(0.05, runs)


def test_multiplicity_divides_the_error():
    draw = normal_parts(0.0, 1.0, 6)
    assert share(Ordering(), draw, "supported", multiplicity=5) <= limit(0.005)


def test_p_values_at_the_boundary_are_uniform():
    rng = np.random.default_rng(5)
    p = np.sort([decide(Ordering(), normal_parts(0.0, 1.0, 5)(rng)).p_value for _ in range(NUM_RUNS)])
    gap = np.abs(p - (np.arange(NUM_RUNS) + 0.5) / NUM_RUNS).max()
    assert gap < 2.5 / np.sqrt(NUM_RUNS)  # Kolmogorov's bound at 1e-5


# ---- power, and the number of units that would do ----


@pytest.mark.parametrize(
    ("rule", "parts", "verdict"),
    [
        (Ordering(), [(0.5, 1.0)], "supported"),
        (Ordering(minimum=0.2), [(-0.3, 1.0)], "refuted"),
        (Ordering(), [(0.5, 1.0), (0.6, 1.1), (4.0, 1.0)], "supported"),
        (Equality(0.5), [(0.1, 0.7)], "supported"),
        (Equality(0.5), [(0.1, 0.8), (-0.05, 0.8)], "supported"),
        (Equality(0.5), [(1.0, 1.0)], "refuted"),
        (Equality(0.5), [(-1.0, 1.0), (0.0, 1.0)], "refuted"),
        (Equality(0.5), [(-1.1, 1.0), *[(0.0, 0.3)] * 7], "refuted"),
    ],
)
def test_needed_n_gives_the_stated_power(rule, parts, verdict):
    seen = [exact_part(mean, sd, label=f"part {k}", predicted=0.0) for k, (mean, sd) in enumerate(parts)]
    decision = decide(rule, seen)
    assert decision.verdict == "inconclusive"
    needed = decision.needed_n
    assert str(needed) in decision.reason

    def at(n):
        def draw(rng):
            return [Part.of(f"part {k}", rng.normal(mean, sd, n), 0.0) for k, (mean, sd) in enumerate(parts)]

        return share(rule, draw, verdict, num_runs=FEW_RUNS)

    spread = 6 * np.sqrt(POWER * (1 - POWER) / FEW_RUNS)
    assert POWER - spread < at(needed) < 0.9 + spread / 2  # parts that help each other may give a little more
    assert at(max(2, round(0.6 * needed))) < POWER - spread / 4


def test_needed_n_grows_with_the_correction_and_has_an_end():
    part = exact_part(0.5, 1.0)
    alone, corrected = decide(Ordering(), [part]), decide(Ordering(), [part], multiplicity=40)
    assert alone.needed_n < corrected.needed_n
    hopeless = decide(Ordering(), [exact_part(1e-4, 1.0)])
    assert hopeless.needed_n is None
    assert "more than 100000" in hopeless.reason


def test_needed_n_is_always_more_than_there_is():
    rng = np.random.default_rng(8)
    for _ in range(200):
        decision = decide(Equality(1.0), [Part.of("a", rng.normal(0, 1.2, 4), 0.0)])
        if decision.verdict == "inconclusive" and decision.needed_n is not None:
            assert decision.needed_n > 4


def test_power_at_a_stated_effect():
    assert share(Ordering(), normal_parts(2.0, 1.0, 6), "supported", num_runs=FEW_RUNS) > 0.95
    assert share(Ordering(), normal_parts(-2.0, 1.0, 6), "refuted", num_runs=FEW_RUNS) > 0.95
    assert share(Equality(1.5), normal_parts([0.0, 0.2], 0.5, 6, predicted=0.0), "supported", num_runs=FEW_RUNS) > 0.95
    assert share(Equality(0.5), normal_parts([0.0, 3.0], 0.5, 6, predicted=0.0), "refuted", num_runs=FEW_RUNS) > 0.95


# ---- verdicts by hand ----


def test_the_verdict_is_where_the_interval_lies():
    rng = np.random.default_rng(11)
    seen = set()
    for _ in range(300):
        parts = [Part.of("a", rng.normal(rng.choice([0, 0.5, 1.2]), 0.5, 5), 0.0)]
        decision = decide(Equality(0.6), parts)
        low, high = decision.interval
        inside, outside = -0.6 <= low and high <= 0.6, low >= 0.6 or high <= -0.6
        assert decision.verdict == ("supported" if inside else "refuted" if outside else "inconclusive")
        assert (decision.p_value <= 0.05) == (decision.verdict != "inconclusive")
        seen.add(decision.verdict)
    assert len(seen) == 3


def test_ordering_is_symmetric():
    values = np.random.default_rng(2).normal(2.0, 1.0, 8)
    up, down = decide(Ordering(), [Part.of("a", values)]), decide(Ordering(), [Part.of("a", -values)])
    assert (up.verdict, down.verdict) == ("supported", "refuted")
    assert up.p_value == pytest.approx(down.p_value, rel=1e-12)


def test_headline_is_the_weakest_part_or_the_one_that_refutes():
    good, close, bad = (exact_part(m, 0.1, label=name, predicted=0.0) for m, name in ((0, "g"), (0.3, "c"), (2, "b")))
    supported = decide(Equality(0.5), [good, close])
    assert (supported.verdict, supported.headline_part) == ("supported", "c")
    assert supported.measured == pytest.approx(0.3)
    refuted = decide(Equality(0.5), [good, bad, close])
    assert (refuted.verdict, refuted.headline_part, refuted.n) == ("refuted", "b", 6)
    assert [part.status for part in refuted.parts] == ["holds", "fails", "holds"]
    assert "'b'" in refuted.reason


def test_a_part_outside_by_itself_is_not_enough_among_many():
    parts = [exact_part(0.85, 0.3, label="far", predicted=0.0)]
    assert decide(Equality(0.5), parts).verdict == "refuted"
    parts += [exact_part(0, 0.3, label=f"near {k}", predicted=0.0) for k in range(9)]
    decision = decide(Equality(0.5), parts)
    assert (decision.verdict, decision.headline_part) == ("inconclusive", "far")
    assert decision.parts[0].status == "open"


def test_relative_margins_scale_with_the_prediction():
    parts = [Part.of("a", [99.0, 101.0, 100.5, 99.5], 100.0), Part.of("b", [0.99, 1.01, 1.005, 0.995], 1.0)]
    assert decide(Equality(0.03, relative=True), parts).verdict == "supported"
    assert decide(Equality(0.03), parts).verdict == "inconclusive"


def test_identity_judges_every_value():
    parts = [Part.of("a", [1.0, 1.0 + 2e-10], 1.0), Part.of("b", [2.0], 2.0)]
    decision = decide(Identity(1e-9), parts)
    assert (decision.verdict, decision.n, decision.headline_part) == ("supported", 3, "a")
    assert decision.measured == 1.0 + 2e-10
    assert decision.interval == (1.0, 1.0 + 2e-10)
    assert decision.p_value is None
    assert decide(Identity(1e-10), parts).verdict == "refuted"
    assert decide(Identity(1e-10), parts).parts[0].status == "fails"


def test_identity_resolves_a_tolerance_below_the_rounding_of_its_bounds():
    assert decide(Identity(1e-18), [Part.of("a", [1.0], 1.0)]).verdict == "supported"
    relative = [Part.of("a", [1e6 * (1 + 1e-9)], 1e6)]
    assert decide(Identity(2e-9, relative=True), relative).verdict == "supported"
    assert decide(Identity(2e-9), relative).verdict == "refuted"


def test_a_factor_of_one_per_mille_is_caught():
    exact = np.array([0.3, 0.5, 0.7])
    assert decide(Identity(1e-12), [Part.of("a", 1.001 * exact[:1], 0.3)]).verdict == "refuted"
    noisy = Part.of("a", 1.001 + 1e-4 * np.random.default_rng(0).normal(size=8), 1.0)
    assert decide(Equality(5e-4), [noisy]).verdict == "refuted"


# ---- what is refused ----


@pytest.mark.parametrize(
    ("rule", "parts", "words"),
    [
        (Ordering(), [], "one or more parts"),
        (Ordering(), [Part("a", (1.0, 2.0)), Part("a", (1.0, 3.0))], "different labels"),
        (Ordering(), [Part("a", (1.0,))], "Part 'a'.*at least 2 units"),
        (Ordering(method="bca"), [Part("a", (1.0, 2.0))], "at least 10"),
        (Ordering(), [Part("a", (1.0, float("nan")))], "finite"),
        (Identity(0.1), [Part("a", (float("nan"),), 1.0)], "finite"),
        (Identity(0.1), [Part("a", (1.0,))], "must be given"),
        (Equality(0.1), [Part("a", (1.0, 2.0))], "must be given"),
        (Equality(0.1, relative=True), [Part("a", (1.0, 2.0), 0.0)], "must not be 0"),
    ],
)
def test_evidence_that_cannot_be_judged_is_refused(rule, parts, words):
    with pytest.raises(ValueError, match=words):
        decide(rule, parts)


def test_values_that_do_not_vary_can_neither_hold_nor_fail() -> None:
    constant, good, bad = Part.of("c", [1.0, 1.0, 1.0]), Part.of("g", [1.0, 1.1, 1.2]), Part.of("b", [-1.0, -1.1, -1.2])
    alone = decide(Ordering(), [constant])
    assert (alone.verdict, alone.p_value, alone.needed_n) == ("inconclusive", 1.0, None)
    assert "do not vary" in alone.reason
    assert decide(Ordering(), [constant, good]).verdict == "inconclusive"
    assert decide(Ordering(), [constant, bad]).verdict == "refuted"
