"""The names of runs."""

from backend.schemas.optimizers import Adam, BlockHessianFree, LayerPartition
from backend.schemas.run_names import run_name, run_names
from tests.dashboard.samples import SPEC, experiment


def test_a_run_is_named_by_what_tells_it_apart() -> None:
    """Optimizer, the settings in which its comparison's runs of that optimizer differ, and the seed."""
    optimizers = [Adam(), BlockHessianFree(damping=0.1), BlockHessianFree(partition=LayerPartition())]
    runs = experiment(SPEC.model_copy(update={"optimizers": optimizers, "seeds": [3]})).runs
    names = ["Adam · seed 3", "BHF · damping 0.1 · blocks problem · seed 3", "BHF · damping 0 · blocks layers · seed 3"]
    assert run_names(runs) == [run_name(run, runs) for run in runs] == names


def test_other_comparisons_do_not_change_a_name() -> None:
    """Runs of several comparisons in one list have the names that they have in their own."""
    one = experiment(SPEC.model_copy(update={"optimizers": [Adam()]}))
    other = experiment(SPEC.model_copy(update={"optimizers": [Adam(learning_rate=0.5)]}), id_="e0000002")
    assert run_names([*one.runs, *other.runs]) == ["Adam · seed 0"] * 2
