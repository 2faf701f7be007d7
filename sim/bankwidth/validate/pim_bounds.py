"""How far a result of computing banks may lie from the exact one, by the formats' roundings.

Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 3, for products; Parker,
Monte Carlo Arithmetic (1997), for a whole model, where worst cases would multiply up to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.numbers import FORMATS, Arithmetic, Floats, accumulated_error

DEVIATIONS: Final = 6.0  # of a normal distribution one value in 5e8 lies beyond
Doubles = NDArray[np.float64]


def product_bound(
    partials: Sequence[tuple[Any, Any]], columns: int, lanes: int, arithmetic: Arithmetic
) -> Doubles:
    """Bound of |computed - exact| of a sum of dot products that the host adds up.

    `partials`: of each piece the exact dot products and the sums of their terms' magnitudes (the
    bias is a term), of `columns` columns at most. With u and v the unit roundoffs of what is read
    and of the accumulator, a piece is off by e = gamma_n(v) M before it is read and by
    e + u (|y| + e) then; the host adds the pieces in float32.
    """
    inner = accumulated_error(
        arithmetic.roundings(columns, lanes), arithmetic.accumulator.unit_roundoff
    )
    u = arithmetic.operand.unit_roundoff
    host = accumulated_error(len(partials), FORMATS["fp32"].unit_roundoff)
    bound: Doubles = np.zeros(np.shape(partials[0][0]))
    for exact, magnitude in partials:
        error = inner * np.asarray(magnitude)
        error = error + u * (np.abs(exact) + error)
        bound = bound + error + host * (np.abs(exact) + error)
    return bound


def chained_bound(
    partials: Sequence[tuple[Any, Any]], columns: int, lanes: int, arithmetic: Arithmetic
) -> Doubles:
    """As `product_bound`, where each piece starts from the sum read before, sent back as its bias:
    that sum is a term more, with the error that it has already."""
    inner = accumulated_error(
        arithmetic.roundings(columns, lanes), arithmetic.accumulator.unit_roundoff
    )
    u = arithmetic.operand.unit_roundoff
    total, error = np.zeros(np.shape(partials[0][0])), np.zeros(np.shape(partials[0][0]))
    for exact, magnitude in partials:
        error = error + inner * (np.asarray(magnitude) + np.abs(total) + error)
        total = total + np.asarray(exact)
        error = error + u * (np.abs(total) + error)
    return error


def running_bound(terms: Doubles, arithmetic: Arithmetic) -> Doubles:
    """Bound of a sum of `terms` [step, ...] that is rounded after every product and every addition.

    A step adds u |p| for its product and u |s| for the sum so far, both with the error that they
    have already (Higham, section 3.3); a product that is subnormal is off by half of the smallest
    number. Where formats are narrow this is far below the worst case, which takes |s| as all terms.
    """
    u = arithmetic.accumulator.unit_roundoff
    error, total = np.zeros(terms.shape[1:]), np.zeros(terms.shape[1:])
    for term in terms:
        error = error + u * np.abs(term) + arithmetic.accumulator.smallest / 2.0
        total = total + term
        error = error + u * (np.abs(total) + error)
    return error


def sampled_bound(exact: Floats, samples: Sequence[Floats]) -> Doubles:
    """DEVIATIONS standard deviations of results whose roundings were drawn at random.

    Each rounding of the format is taken as independent and even over its range, plus or minus the
    unit roundoff. That is a model of rounding, not a worst case.
    """
    squares = np.mean([(np.float64(sample) - exact) ** 2 for sample in samples], axis=0)
    return np.asarray(DEVIATIONS * np.sqrt(squares))
