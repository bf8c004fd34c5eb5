"""The paper's experiments and the study can be launched, and have what the verdicts need."""

import pytest

from backend.catalog.validation import plan
from backend.paper.specifications import SIZES, PaperProblem, Question, Scale, name_of, reproduction, study
from backend.schemas.optimizers import Adam, CurvatureSettings, HessianFree
from worker.problems.registry import discover


@pytest.mark.parametrize(("problem", "scale"), SIZES)
def test_a_reproduction_can_be_launched(problem: PaperProblem, scale: Scale) -> None:
    """The real problems admit it; it has two Adams, and HF and BHF with the same three curvature batches; 3 seeds."""
    spec = reproduction(problem, scale)
    plan(spec, discover().catalog())
    adams = [o.gradient_batch for o in spec.optimizers if isinstance(o, Adam)]
    solvers = [o for o in spec.optimizers if isinstance(o, CurvatureSettings)]
    batches = {kind: [o.curvature_batch for o in solvers if o.kind == kind] for kind in ("hf", "bhf")}
    assert adams[0] < adams[1]
    assert batches["hf"] == batches["bhf"]
    assert len(set(batches["bhf"])) == 3
    assert len(spec.seeds) == 3
    assert spec.name == name_of(problem, scale)
    assert spec.problem.data in {"mnist", "mnist-5k", "cifar10"}


def test_the_papers_settings() -> None:
    """Section 5: damping 0, 0.01, 0.1; iterations 30, 100, 30; rate 0.1; warm start 0.95; 1000 epochs; Polyak 0.99."""
    for problem, damping, iterations in zip(PaperProblem, (0, 0.01, 0.1), (30, 100, 30), strict=True):
        full = reproduction(problem, Scale.FULL)
        seconds = [o for o in full.optimizers if isinstance(o, CurvatureSettings)]
        assert {(o.damping, o.max_cg_iterations) for o in seconds} == {(damping, iterations)}
        assert {(o.learning_rate, o.warm_start) for o in seconds} == {(0.1, 0.95)}
        assert full.budget.epochs == 1000
        assert full.evaluation.polyak_decay == (0.99 if problem is PaperProblem.CNN else None)


@pytest.mark.parametrize("question", Question)
def test_a_sweep_of_the_study_can_be_launched(question: Question) -> None:
    """The real autoencoder admits it; what it varies takes at least three values, but where precision is the change."""
    spec = study(question)
    plan(spec, discover().catalog())
    count = len({o.model_dump_json() for o in spec.optimizers if o.kind == "bhf"})
    assert count == 1 if question is Question.WHOLE_FLOAT64 else count >= 3


def test_the_open_question_is_asked_as_it_was_filed() -> None:
    """60,000 digits, S_g 2,000, S_c 100: HF and BHF for 100 updates, as they are and with one change each."""
    base, double = study(Question.WHOLE), study(Question.WHOLE_FLOAT64)
    for spec in (base, double):
        assert (spec.problem.data, spec.problem.train_size, spec.budget.updates) == ("mnist", None, 100)
        assert {(o.gradient_batch, getattr(o, "curvature_batch", 0)) for o in spec.optimizers} == {(2000, 100)}
    assert (base.precision, double.precision) == ("float32", "float64")
    plain = HessianFree(gradient_batch=2000, curvature_batch=100).model_dump()
    changed = [{k: v for k, v in o.model_dump().items() if plain[k] != v} for o in base.optimizers if o.kind == "hf"]
    assert changed == [{}, {"damping": 0.1}, {"cg_stop": "martens"}, {"max_cg_iterations": 10}, {"warm_start": 0.0}]
    assert double.optimizers == [o for o in base.optimizers if o in double.optimizers]
