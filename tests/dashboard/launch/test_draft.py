"""What a visitor is about to launch."""

from typing import Any

import pytest

from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from dashboard.launch.draft import Draft, clone, convert, problem_presets, seeds_of, will_it_help
from tests.dashboard.samples import CATALOG, SPEC, experiment


def test_a_draft_begins_with_the_optimizers_of_its_specification() -> None:
    """Each optimizer is an entry with its settings, and entries have names that never repeat."""
    held = Draft(SPEC)
    assert [(entry.id, entry.kind) for entry in held.entries] == [("adam0", "adam"), ("hf1", "hf"), ("bhf2", "bhf")]
    assert held.entries[1].values["curvature_batch"] == [250]
    held.remove(held.entries[0])
    held.add("adam")
    assert [entry.id for entry in held.entries] == ["hf1", "bhf2", "adam3"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0, 1 2", [0, 1, 2]),
        ("3-5, 9", [3, 4, 5, 9]),
        ("", []),
        ("5-3", ["5-3"]),
        ("-1", ["-1"]),
        ("0-99999999", ["0-99999999"]),
        ("one", ["one"]),
    ],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[Any]) -> None:
    """Numbers and ascending ranges are seeds; anything else stays text, which the contract refuses."""
    assert seeds_of(text) == seeds


def test_a_clone_holds_the_run_alone() -> None:
    """Cloning a run gives a specification of that run and no other."""
    one = experiment(SPEC.model_copy(update={"seeds": [3, 4]}))
    spec = clone(one.runs[4])
    assert [config.model_dump() for config in spec.runs()] == [one.runs[4].config.model_dump()]


def test_presets_are_valid_and_named_apart() -> None:
    """Each problem offers its paper's settings, a quick look and a first test of BHF."""
    found = problem_presets(CATALOG)
    assert list(found) == ["The sample's settings", "Sample, a quick look", "Sample: will BHF help?"]
    assert found["Sample, a quick look"].budget.updates == 15


def test_will_bhf_help_compares_the_main_optimizers_in_two_minutes() -> None:
    """Adam, HF and BHF with three seeds train two minutes in all, also where the network's preset has Adam alone."""
    preset = SPEC.model_copy(update={"optimizers": [Adam(gradient_batch=100)]})
    spec = will_it_help(preset, "Sample")
    assert spec.optimizers == [
        Adam(gradient_batch=100),
        HessianFree(gradient_batch=100, curvature_batch=25),
        BlockHessianFree(gradient_batch=100, curvature_batch=25),
    ]
    runs = spec.runs()
    assert len(runs) == 9
    assert sum(run.budget.seconds or 0 for run in runs) == pytest.approx(120, rel=0.01)


def test_the_same_with_another_optimizer() -> None:
    """What both have is kept, problem, seed and budget too; a curvature batch is made to fit a small gradient batch."""
    spec = SPEC.model_copy(update={"optimizers": [HessianFree(damping=0.25, warm_start=0.5)], "seeds": [7]})
    run = experiment(spec).runs[0]
    [other] = clone(run, "bhf").runs()
    assert other.optimizer == BlockHessianFree(damping=0.25, warm_start=0.5)
    assert other.model_copy(update={"optimizer": run.config.optimizer}) == run.config
    assert clone(run, "bhf").name == "The sample's settings, with BHF"
    assert convert(Adam(gradient_batch=100), "hf") == HessianFree(gradient_batch=100, curvature_batch=25)
    assert convert(HessianFree(gradient_batch=500), "adam") == Adam(gradient_batch=500)
