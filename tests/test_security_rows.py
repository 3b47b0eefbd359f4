"""The list of security rows, the tests that carry their ids and the breaks must agree."""

import pytest

from mutants import broken_by, listed_rows, mutants, named_after_rows, shown_verdicts

COUNTS = {
    "A": 13,
    "C": 14,
    "T": 11,
    "I": 7,
    "S": 8,
    "L": 10,
    "K": 11,
    "V": 7,
    "R": 15,
    "P": 5,
    "O": 17,
    "E": 7,
    "F": 4,
    "N": 8,
}
IDS = {f"{letter}{number}" for letter, most in COUNTS.items() for number in range(1, most + 1)}
TO_RUN = "run: make mutants"


@pytest.fixture(scope="module")
def held() -> set[str]:
    return {row for row, of in listed_rows().items() if of.state in {"holds", "part"}}


def test_every_row_is_listed_once() -> None:
    assert set(listed_rows()) == IDS


def test_a_row_that_holds_has_a_test_named_after_it(held: set[str]) -> None:
    assert sorted(held - set(named_after_rows())) == []


def test_a_row_that_does_not_hold_whole_says_what_waits_and_for_what() -> None:
    silent = [row for row, of in listed_rows().items() if of.state != "holds" and not of.note]

    assert silent == []


def test_no_test_names_a_row_that_does_not_exist() -> None:
    assert set(named_after_rows()) <= IDS


def test_a_row_that_holds_has_a_break_that_its_tests_are_shown_to_notice(held: set[str]) -> None:
    assert sorted(held - {each.row for each in mutants()}) == []


def test_no_break_is_of_a_row_that_does_not_exist() -> None:
    assert {each.row for each in mutants()} <= IDS


def test_each_break_still_fits_the_source() -> None:
    assert [trouble for each in mutants() if (trouble := each.trouble()) is not None] == []


def test_no_two_breaks_of_a_row_have_one_name_or_do_the_same() -> None:
    names = [each.title for each in mutants()]
    edits = [(each.row, each.file, each.before, each.after) for each in mutants()]

    assert (len(names), len(edits)) == (len(set(names)), len(set(edits)))


def test_the_page_of_the_rows_names_the_breaks() -> None:
    stale = [row for row, of in listed_rows().items() if of.broken_by != broken_by(row)]

    assert stale == [], "run: make mutants ARGS=--list"


def test_the_page_of_the_breaks_tells_of_each_which_test_noticed() -> None:
    shown = shown_verdicts()

    assert list(shown) == [(each.row, each.name) for each in mutants()], TO_RUN
    tests = {place: case.partition("[")[0] for place, (case, _) in shown.items()}
    gone = [place for place, test in tests.items() if test not in named_after_rows()[place[0]]]
    assert gone == [], TO_RUN
