"""What the pages make of the API's answers."""

from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree, LayerPartition
from dashboard.compare import groups
from tests.dashboard.samples import CATALOG, SPEC, experiment


def with_optimizers(*optimizers: Adam | HessianFree | BlockHessianFree, name: str = "one") -> ExperimentSpec:
    """Make a specification of these optimizers with two seeds."""
    return SPEC.model_copy(update={"optimizers": list(optimizers), "seeds": [0, 1], "name": name})


def test_groups_hold_the_seeds_of_one_configuration() -> None:
    """Runs that differ by seed alone share a group, in the order in which they were asked for."""
    found = groups.group_runs([experiment(with_optimizers(Adam(), BlockHessianFree(), HessianFree()))])
    assert [(group.label, [run.config.seed for run in group.runs]) for group in found] == [
        ("Adam", [0, 1]),
        ("BHF", [0, 1]),
        ("HF", [0, 1]),
    ]


def test_labels_say_what_differs() -> None:
    """Two configurations of one optimizer are named by the settings in which they differ, and by nothing else."""
    spec = with_optimizers(BlockHessianFree(), BlockHessianFree(damping=0.1, partition=LayerPartition()), Adam())
    found = groups.group_runs([experiment(spec)])
    assert [group.label for group in found] == [
        "BHF · damping 0 · blocks problem",
        "BHF · damping 0.1 · blocks layers",
        "Adam",
    ]


def test_labels_name_the_experiment_where_nothing_else_differs() -> None:
    """The same configuration in two comparisons is told apart by the comparisons' names."""
    pair = [experiment(with_optimizers(Adam(), name=name), id_=f"e000000{name}") for name in "ab"]
    runs = [run for one in pair for run in one.runs[:1]]
    assert groups.labels(runs) == ["Adam · a", "Adam · b"]


def test_variants_count_the_configurations_of_one_optimizer() -> None:
    """Each further configuration of an optimizer gets the next dash, each optimizer starts with the first."""
    found = groups.group_runs([experiment(with_optimizers(Adam(), Adam(learning_rate=0.01), HessianFree()))])
    assert [(group.kind, group.variant) for group in found] == [("adam", 0), ("adam", 1), ("hf", 0)]


def test_live_groups_number_the_runs() -> None:
    """The browser gets each run's id, seed and place in the table."""
    one = experiment(with_optimizers(Adam(), HessianFree()))
    rows = groups.live_groups(groups.group_runs([one]))
    assert [(run["seed"], run["order"], run["title"]) for row in rows for run in row["runs"]] == [
        (0, 0, "Adam · seed 0"),
        (1, 1, "Adam · seed 1"),
        (0, 2, "HF · seed 0"),
        (1, 3, "HF · seed 1"),
    ]
    assert {run["id"] for row in rows for run in row["runs"]} == {run.id for run in one.runs}


def test_accuracy_follows_the_catalog_and_the_rows() -> None:
    """An accuracy is shown where the problem announces one, or where a run has reported one."""
    runs = experiment().runs
    assert groups.has_accuracy(CATALOG, runs)
    assert not groups.has_accuracy(None, runs)
    summary = runs[0].summary.model_copy(update={"last_test_accuracy": 0.5})
    assert groups.has_accuracy(None, [runs[0].model_copy(update={"summary": summary})])


def test_loss_unit_is_empty_for_an_unknown_problem() -> None:
    """Without an announcement of the problem its loss has no known unit."""
    assert groups.loss_unit(CATALOG, "sample") == "nats"
    assert groups.loss_unit(CATALOG, "other") == ""
    assert groups.loss_unit(None, "sample") == ""


def test_runs_are_averaged_over_chosen_settings() -> None:
    """Runs that differ in nothing but those share a group; each is named by them; the rest tells the groups apart."""
    spec = with_optimizers(HessianFree(), HessianFree(damping=0.5), Adam(), HessianFree(warm_start=0.5))
    found = groups.group_runs([experiment(spec)], ("seed", "damping"))
    assert [(group.key, group.label, len(group.runs)) for group in found] == [
        ("e0000001-0", "HF · warm start 0.95", 4),
        ("e0000001-2", "Adam", 2),
        ("e0000001-3", "HF · warm start 0.5", 2),
    ]
    rows = groups.live_groups(found, ("seed", "damping"))
    assert [run["name"] for run in rows[0]["runs"]] == [
        "damping 0 · seed 0",
        "damping 0 · seed 1",
        "damping 0.5 · seed 0",
        "damping 0.5 · seed 1",
    ]
    assert (rows[0]["unit"], rows[1]["runs"][0]["title"], rows[1]["runs"][0]["detail"]) == ("runs", "Adam · seed 0", "")


def test_each_run_can_have_its_own_line() -> None:
    """Over nothing at all, the seed tells the lines of one configuration apart, and their keys differ."""
    found = groups.group_runs([experiment(with_optimizers(Adam(), HessianFree()))], ())
    assert [(group.key, group.label) for group in found] == [
        ("e0000001-0", "Adam · seed 0"),
        ("e0000001-0-1", "Adam · seed 1"),
        ("e0000001-1", "HF · seed 0"),
        ("e0000001-1-1", "HF · seed 1"),
    ]
    assert groups.live_groups(found, ())[0]["runs"][0]["title"] == "Adam · seed 0"


def test_comparisons_can_be_averaged_over() -> None:
    """The same configuration with more seeds in a second comparison joins the first one's runs."""
    one, more = with_optimizers(Adam()), with_optimizers(Adam(), name="more").model_copy(update={"seeds": [2, 3]})
    both = [experiment(one), experiment(more, id_="e0000002")]
    (group,) = groups.group_runs(both, ("seed", "comparison"))
    assert [run.config.seed for run in group.runs] == [0, 1, 2, 3]
    assert groups.live_groups([group], ("seed", "comparison"))[0]["runs"][3]["detail"] == "comparison more"
    assert groups.average_choices(both) == ["seed", "comparison"]


def test_what_can_be_averaged_over_differs_within_an_optimizer() -> None:
    """Settings in which two optimizers differ by nature are not offered."""
    assert groups.average_choices([experiment(with_optimizers(HessianFree(), Adam(), HessianFree(damping=1)))]) == [
        "seed",
        "damping",
    ]


def test_a_swept_number_has_its_shades_and_a_second_one_its_dashes() -> None:
    """Three values or more go from light to dark in their order; what differs otherwise keeps the optimizer's look."""
    swept = [BlockHessianFree(damping=damping, curvature_batch=batch) for batch in (250, 62) for damping in (1, 0, 0.1)]
    found = groups.group_runs([experiment(with_optimizers(Adam(), *swept))])
    shown = [groups.looks(found).get(group.key) for group in found]
    assert shown[0] is None
    assert [(look["shade"], look["dash"]) for look in shown[1:] if look] == [
        *((shade, 1) for shade in (1, 0, 0.5)),
        *((shade, 0) for shade in (1, 0, 0.5)),
    ]
    two = groups.group_runs([experiment(with_optimizers(HessianFree(damping=0), HessianFree(damping=1)))])
    assert groups.looks(two) == {}
    blocks = [BlockHessianFree(), BlockHessianFree(partition=LayerPartition()), BlockHessianFree(damping=1)]
    assert groups.looks(groups.group_runs([experiment(with_optimizers(*blocks))])) == {}


def test_the_settings_that_differ_have_columns() -> None:
    """A leaderboard's row has numbers as such and others as text; another optimizer's settings are no difference."""
    swept = [BlockHessianFree(damping=0.1), BlockHessianFree(partition=LayerPartition())]
    found = groups.group_runs([experiment(with_optimizers(Adam(), *swept))])
    assert groups.differing_settings(found) == [
        {},
        {"damping": 0.1, "blocks": "problem"},
        {"damping": 0, "blocks": "layers"},
    ]
