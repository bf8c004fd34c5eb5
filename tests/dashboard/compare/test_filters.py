"""Which comparisons are offered, as the URL has it."""

from dashboard.compare.filters import DetailView, Filters, details_query, read_details, read_filters, with_tags
from tests.dashboard.samples import experiment


def test_filters_survive_their_url() -> None:
    """What is chosen is read back from its parts of the URL unchanged, also when it is nothing."""
    for over in (("seed", "problem.options.hidden_1"), ()):
        chosen = Filters(("paper", "a_b.c-d"), True, over)
        assert read_filters(chosen.query()) == chosen


def test_the_default_leaves_the_url_clean() -> None:
    """All tags, no archived ones and an average over the seeds add nothing."""
    assert Filters().query() == {}
    assert read_filters({}) == Filters()


def test_nonsense_in_a_url_is_left_out() -> None:
    """What no tag or setting could be called is no choice."""
    query = {"tag": "Paper,<b>,paper,paper", "archived": "yes", "over": "seed,$(x)"}
    assert read_filters(query) == Filters(("paper",))


def test_comparisons_have_all_of_the_tags() -> None:
    """Each further tag narrows the choice down."""
    one, two = (experiment(id_=f"e000000{i}").model_copy(update={"tags": list("ab")[:i]}) for i in (1, 2))
    assert with_tags([one, two], []) == with_tags([one, two], ["a"]) == [one, two]
    assert with_tags([one, two], ["a", "b"]) == [two]


def test_a_sweeps_choice_survives_its_url() -> None:
    """Outcome and setting are read back; a setting that the runs do not have is left out, the default adds nothing."""
    chosen = DetailView("last_test_loss", "partition: n")
    query = chosen.query() | {"x": "cost"}
    assert details_query(query) == chosen.query()
    known = {"outcomes": ["best_train_loss", "last_test_loss"], "settings": ["damping", "partition: n"]}
    assert read_details(query, **known) == chosen
    assert read_details(query, outcomes=["best_train_loss"], settings=["damping"]) == DetailView()
    assert DetailView().query() == {}
