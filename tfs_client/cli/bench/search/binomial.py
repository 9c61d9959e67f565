"""Tails of the binomial distribution, also for counts that are not whole, as the effective size of a sample is not."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

TINY = 1e-300  # in place of a zero denominator
EXACT = 1e-12  # relative change at which the continued fraction has converged


def at_least(count: float, trials: float, probability: float) -> float:
    """The probability of ``count`` or more successes in ``trials``."""
    return 1.0 if count <= 0 else _beta(probability, count, max(0.0, trials - count) + 1)


def at_most(count: float, trials: float, probability: float) -> float:
    """The probability of ``count`` or fewer successes in ``trials``."""
    return 1.0 if count >= trials else _beta(1 - probability, trials - count, count + 1)


def _beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function: the binomial tails are values of it."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side only
        return 1 - _beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    return min(1.0, front * _fraction(x, a, b) / a)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method; about sqrt(a + b) terms."""
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + term * d)
            c = _apart(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < EXACT:
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge at {x}, {a}, {b}")


def _apart(value: float) -> float:
    return value if abs(value) > TINY else TINY
