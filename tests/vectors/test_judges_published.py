"""Numbers that others have printed about judges, preferences and repeated tries."""

from __future__ import annotations

import pytest

from equipoise.stats.cases.pass_at_k import Tries, pass_at_k_of_case, pass_hat_k_of_case
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.agreement import agreement, cohens_kappa, krippendorffs_alpha
from equipoise.stats.preference.bradley_terry import BradleyTerry, bradley_terry

# Krippendorff (2011), section C: four observers, twelve units, 0 where there is no value.
FOUR = ["123321412000", "123322412503", "033323422510", "123324412510"]
# The three coders and fifteen units of the encyclopaedias (Krippendorff's alpha, "A computational example").
THREE = ["000003412113303", "102133430000000", "002134402113304"]


def rows(digits: list[str]) -> list[list[int | None]]:
    return [[int(d) or None for d in row] for row in digits]


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def test_eight_pairs_agree_on_three_quarters() -> None:
    """Human A B A TIE B A B B against judge A B B TIE B A A B: six of eight."""
    human = ["A", "B", "A", "TIE", "B", "A", "B", "B"]
    judge = ["A", "B", "B", "TIE", "B", "A", "A", "B"]
    assert found(agreement(human, judge)).value == 0.75
    # Both give A three times, B four times and a tie once: by chance (9 + 16 + 1) / 64 agree.
    assert found(cohens_kappa(human, judge)).value == pytest.approx((0.75 - 26 / 64) / (1 - 26 / 64))


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_four_observers(scale: str, alpha: float) -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, sections C and D."""
    assert found(krippendorffs_alpha(rows(FOUR), scale=scale)).value == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.691), ("interval", 0.811)])
def test_alpha_of_three_coders(scale: str, alpha: float) -> None:
    """The example with missing values that most packages print."""
    assert found(krippendorffs_alpha(rows(THREE), scale=scale)).value == pytest.approx(alpha, abs=5e-4)


def test_kappa_of_fifty_proposals() -> None:
    """Twenty yes-yes, fifteen no-no, five and ten apart: (0.7 − 0.5) / (1 − 0.5) = 0.4."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert found(cohens_kappa(first, second)).value == pytest.approx(0.4)


def test_baseball_strengths_are_those_of_agresti() -> None:
    """Agresti (2002), Categorical Data Analysis, table 10.10 and section 10.6.2: American League East, 1987."""
    teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
    won = [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
    games = [(teams[i], teams[j]) for i in range(7) for j in range(7) for _ in range(won[i][j])]
    fit = bradley_terry([a for a, _ in games], [b for _, b in games], [1] * len(games))
    assert isinstance(fit, BradleyTerry)
    printed = {
        "Milwaukee": 1.58,
        "Detroit": 1.44,
        "Toronto": 1.29,
        "New York": 1.25,
        "Boston": 1.11,
        "Cleveland": 0.68,
    }
    for team, strength in printed.items():
        ours = fit.difference(team, "Baltimore")
        assert ours.value == pytest.approx(strength, abs=0.005)
        # The printed model-based error is 0.34 for each; the sandwich does not trust the model.
        assert ours.standard_error == pytest.approx(0.34, abs=0.05)


def test_pass_at_k_by_hand() -> None:
    """1 − C(3,2)/C(5,2) = 0.7 and C(4,2)/C(5,2) = 0.6 (Chen et al. 2021, eq. 1; Yao et al. 2024)."""
    assert pass_at_k_of_case(Tries(5, 2), 2) == pytest.approx(0.7)
    assert pass_hat_k_of_case(Tries(5, 4), 2) == pytest.approx(0.6)
