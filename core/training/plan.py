"""Plans a paid job before it is submitted: its memory, time and cost on the chosen machine and on the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import BudgetError, SettingsError
from core.settings.jobs import Jobs, Training
from core.training.bill import greatest_usd
from core.training.estimate import Load, conversion_memory, conversion_seconds, training_memory, training_seconds, usable
from core.training.hardware import Estimate, Flavor
from core.training.shapes import Shape

REFERENCE = 4.25 / 3.25
"""Factor by which the reference model lengthens an epoch: it adds one forward pass to the work of a training step (3.25 passes, estimate.py)."""


@dataclass(frozen=True)
class Option:
    """A machine for a job.

    Args:
        fits: whether the machine can run the job: it has enough memory and, for a training, supports bfloat16.
        seconds: estimated duration.
    """

    flavor: Flavor
    fits: bool
    seconds: float

    @property
    def usd(self) -> float:
        """The estimated cost of the job on this machine."""
        return self.seconds / 3600 * self.flavor.usd_per_hour


@dataclass(frozen=True)
class JobPlan:
    """The needs and the cost of a job.

    Args:
        what: name of the job for messages, such as "Training on me/coach".
        memory: by part, in GB: GPU memory of a training, or RAM of a conversion.
        chosen: the machine in the settings.
        options: all machines that fit, the cheapest first.
        timeout_seconds: seconds after which the service stops the job.
        spent: USD that earlier jobs of the run have cost.
        budget: USD that the jobs of the run may cost together.
    """

    what: str
    memory: dict[str, float]
    chosen: Option
    options: list[Option]
    timeout_seconds: int
    spent: float
    budget: float

    @property
    def gb(self) -> float:
        """The total memory, in GB."""
        return sum(self.memory.values())

    @property
    def most_usd(self) -> float:
        """The cost of the job if it runs until its time limit."""
        return greatest_usd(self.timeout_seconds, self.chosen.flavor.usd_per_hour)

    @property
    def line(self) -> str:
        """The plan as one line for the log."""
        return (
            f"{self.what} on {self.chosen.flavor.name}: about {self.gb:.0f} of {self.chosen.flavor.gpu_gb or self.chosen.flavor.ram_gb:.0f} GB, "
            f"{self.chosen.seconds / 60:.0f} minutes, {self.chosen.usd:.2f} USD (at most {self.most_usd:.2f}); "
            f"{self.spent:.2f} of {self.budget:.2f} USD are spent"
        )


def plan_training(what: str, shape: Shape, training: Training, load: Load, offered: Mapping[str, Flavor], known: Estimate, jobs: Jobs, spent: float) -> JobPlan:
    """Plan a training.

    Args:
        what: name of the job for messages.
        offered: machines by name.
        known: assumptions of the estimate.
        spent: USD that the run's jobs have cost.

    Raises:
        SettingsError: the chosen machine is missing or too small, or the longest example exceeds the base's context.
        BudgetError: the cost could exceed jobs.usd.
    """
    limit = training.train["max-length"]
    length = min(load.longest, int(limit)) if isinstance(limit, int) else load.longest
    if length > shape.context:
        raise SettingsError(
            f"{what}: the longest example takes {length:,} tokens, and the base was made for {shape.context:,}. Lower max-length to {shape.context}, "
            "name a base with a longer context, or state a scaling (rope_parameters) in its config.json."
        )
    memory = training_memory(shape, training.train, length, known)
    needed = sum(memory.values())
    known = known.model_copy(update={"efficiency": training.efficiency or known.efficiency})
    options = [
        Option(flavor, flavor.gpu.bf16 and needed <= usable(flavor, known), training_seconds(shape, training.train, load, flavor, known))
        for flavor in offered.values()
        if flavor.gpu
    ]
    name = training.flavors.train if training.flavors else ""
    return _plan(what, memory, options, name, "flavors.train", jobs, spent, f"lower max-length ({length:,} tokens now), add offload-checkpoints: true, or set")


def plan_pairs(what: str, shape: Shape, training: Training, load: Load, offered: Mapping[str, Flavor], known: Estimate, jobs: Jobs, spent: float) -> JobPlan:
    """Plan a preference training. The adapter and its reference, which needs no gradients, each read both replies of a pair with their prompt.

    Arguments and errors are those of `plan_training`.
    """
    pairs = training.pairs or {}
    size, epochs = pairs.get("batch-size", 2), pairs.get("epochs", 1.0)
    both = 2 * int(size) if isinstance(size, int) else 4
    knobs = training.train | {"batch-size": both, "epochs": float(epochs) * REFERENCE if isinstance(epochs, int | float) else REFERENCE}
    return plan_training(what, shape, training.model_copy(update={"train": knobs}), load, offered, known, jobs, spent)


def plan_conversion(what: str, shape: Shape, training: Training, offered: Mapping[str, Flavor], known: Estimate, jobs: Jobs, spent: float) -> JobPlan:
    """Plan a merge and conversion, which needs no GPU.

    Raises:
        SettingsError: the chosen machine is missing or too small.
        BudgetError: the cost could exceed jobs.usd.
    """
    memory = {"weights, reference and llama.cpp": conversion_memory(shape, known)}
    seconds = conversion_seconds(shape, len(training.quantisations) + training.imatrix + 1, known)
    options = [Option(flavor, sum(memory.values()) <= flavor.ram_gb, seconds) for flavor in offered.values()]
    name = training.flavors.convert if training.flavors else ""
    return _plan(what, memory, options, name, "flavors.convert", jobs, spent, "set")


def _plan(what: str, memory: dict[str, float], options: list[Option], name: str, setting: str, jobs: Jobs, spent: float, advice: str) -> JobPlan:
    by_cost = sorted(options, key=lambda option: option.usd)
    fitting = [option.flavor.name for option in by_cost if option.fits]
    allowed = f"{advice} {setting} to one of: {', '.join(fitting) or 'none fits'}"
    chosen = next((option for option in options if option.flavor.name == name), None)
    if chosen is None:
        raise SettingsError(f"{what} needs a machine, and {setting} is {name or 'not set'!r}; {allowed}.")
    if not chosen.fits:
        reason = "does not support bfloat16" if chosen.flavor.gpu and not chosen.flavor.gpu.bf16 else "is too small"
        room = chosen.flavor.gpu_gb or chosen.flavor.ram_gb
        raise SettingsError(f"{what} takes about {sum(memory.values()):.0f} GB, and {name} ({room:.0f} GB) {reason}; {allowed}.")
    timeout = int(max(jobs.least_seconds, chosen.seconds * (1 + jobs.margin)))
    plan = JobPlan(what, memory, chosen, [option for option in by_cost if option.fits], timeout, spent, jobs.usd)
    if spent + plan.most_usd > jobs.usd:
        raise BudgetError(
            f"Budget of the jobs: {what} on {name} takes up to {plan.most_usd:.2f} USD ({timeout / 60:.0f} minutes at {chosen.flavor.usd_per_hour:.2f} "
            f"an hour), and {spent:.2f} of {jobs.usd:.2f} USD are spent. Raise jobs.usd, lower epochs, or choose a cheaper machine: {allowed}."
        )
    return plan
