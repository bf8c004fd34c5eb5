"""The files of a package that adds a network of one's own, for `blockhf new-problem` and the launch page."""

import re

from backend.errors import FieldError, InvalidInput

_PROJECT = """[project]
name = "NAME"
version = "0.1"

[project.entry-points]
"blockhf.problems" = { NAME = "MODULE:PROBLEM" }

[tool.setuptools]
py-modules = ["MODULE"]
"""

_MODULE = '''"""A network of your own for BlockHF."""

from torch import Tensor, nn

from backend.schemas.base import setting
from backend.schemas.catalog import DataSet
from backend.schemas.experiments import ExperimentSpec, Problem as Choice
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from worker.optim import SoftmaxCrossEntropy
from worker.problems.problem import Options, Problem


class Settings(Options):
    """What can be set in the launch form; each default is a complete network."""

    hidden: int = setting(100, "width of the hidden layers", unit="units", ge=1, le=4096)


class CLASS(Problem):
    """Change build: any torch module whose outputs fit the loss."""

    name, title, summary = "NAME", "TITLE", "Two hidden layers, tanh."
    loss, loss_unit, accuracy = SoftmaxCrossEntropy(), "cross-entropy [nats], mean over the images", True
    options = Settings
    partition = [["1", "3"], ["5"]]  # the default blocks: names of layers, as in named_modules()
    preset = ExperimentSpec(
        name="TITLE, first settings",
        problem=Choice(name="NAME", data="mnist-5k"),
        optimizers=[Adam(), HessianFree(damping=0.1), BlockHessianFree(damping=0.1)],
    )

    def build(self, options: Settings, data: DataSet) -> nn.Module:
        """Return the network with random weights."""
        width = options.hidden
        layers = [nn.Linear(data.inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, data.classes))

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return what the loss compares the outputs with."""
        return labels


PROBLEM = CLASS()
'''


def problem_package(name: str) -> dict[str, str]:
    """Return the package's files by their names.

    Args:
        name: name of the problem: lower-case letters, digits and hyphens, a letter first.

    Raises:
        InvalidInput: the name has other characters.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name) or name.endswith("-"):
        limit = "must be lower-case letters, digits and hyphens, with a letter first, such as my-network"
        raise InvalidInput([FieldError("name", name, limit)])
    words = name.split("-")
    module = f"{'_'.join(words)}_problem"
    values = {"NAME": name, "MODULE": module, "CLASS": "".join(word.title() for word in words) or "Own"}
    values["TITLE"] = " ".join(words).capitalize()
    files = {"pyproject.toml": _PROJECT, f"{module}.py": _MODULE}
    return {path: re.sub("|".join(values), lambda found: values[found[0]], text) for path, text in files.items()}
