"""What the emulator costs a test suite, measured by the program in bench/emulator."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pace import slower

PROGRAM = Path(__file__).parents[2] / "bench" / "emulator" / "measure.py"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("emulator_measure", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_five_hundred_sign_ins_of_a_test_suite_spend_under_two_seconds(measure: ModuleType) -> None:
    """CPU seconds in the emulator; the best of short rounds, as others use the machine.

    Short, so that the pace of the machine is still the same when it is asked for.
    """
    measure.sign_ins(1)
    assert any(25 * measure.sign_ins(20) < 2 * slower() for _ in range(25))


def test_the_program_prints_its_figures(
    measure: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 1)
    measure.measure_sign_ins(2)
    assert "CPU seconds for 2\n" in capsys.readouterr().out
