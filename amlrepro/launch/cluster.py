"""What jobs ask of a cluster: the settings file, and the sbatch options that follow for a class of jobs. Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from amlrepro.errors import UserError
from amlrepro.schema import Strict, load_yaml, merge, parse_strict

Kind = Literal["training", "evaluation", "measurement"]
KINDS: tuple[Kind, ...] = ("training", "evaluation", "measurement")

# Options that follow from the job, or that requeueing and the store rely on.
_OURS = {
    "array", "dependency", "error", "job-name", "kill-on-invalid-dep", "no-requeue", "nodes", "ntasks",
    "ntasks-per-node", "open-mode", "output", "requeue", "signal", "wrap",
}  # fmt: skip
_OWN_SETTINGS = {
    "account": "account", "constraint": "constraint", "cpus-per-task": "cpus", "exclude": "exclude", "gres": "gres",
    "mem": "memory", "partition": "partition", "qos": "qos", "time": "time",
}  # fmt: skip
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<clock>\d+(?::\d+){0,2})|(?P<plain>\d+(?::\d+){0,2}))")
_GRES = re.compile(r"(?P<name>[\w-]+(?::[\w.-]*[A-Za-z_][\w.-]*)?)(?::(?P<count>\d+))?")
_MEMORY = re.compile(r"(?P<size>\d+)(?P<unit>[KMGT]?)B?", re.IGNORECASE)


class Resources(Strict):
    """What a job asks for. Unset: the cluster's own default, or what the class `ClusterSettings` says.

    time: limit as SLURM writes it (`90`, `12:00:00`, `1-00:00`); a job that reaches it is requeued and goes on. gres,
    cpus, memory: of one process (`gpu:1` by default unless the device is cpu; `none` asks for nothing). exclude: nodes
    to leave out. setup: shell lines before the job. options: any further sbatch options by their long names.
    """

    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    constraint: str | None = None
    time: str | None = None
    gres: str | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    memory: str | None = None
    exclude: str | None = None
    setup: list[str] | None = None
    options: dict[str, str | bool] = Field(default_factory=dict)


class ClusterSettings(Resources):
    """A file of cluster settings.

    processes_per_node: how many processes of one training share a node (its GPUs). jobs_at_once: elements of an array
    that run at a time. requeues: how often a job may reach its time limit. save_seconds: how long before its end a job
    is told to save. evaluation, measurement: what differs for evaluations after a training with several processes, and
    for measurements of time and memory, which have a node for themselves.
    """

    time: str | None = "12:00:00"
    processes_per_node: Annotated[int, Field(ge=1)] = 8
    jobs_at_once: Annotated[int, Field(ge=1)] = 256
    requeues: Annotated[int, Field(ge=0)] = 100
    save_seconds: Annotated[int, Field(ge=10)] = 120
    evaluation: Resources = Resources()
    measurement: Resources = Resources()

    def of(self, kind: Kind) -> Resources:
        """What jobs of a kind ask for."""
        if kind == "training":
            return self
        own: Resources = getattr(self, kind)
        values = own.model_dump(exclude_unset=True)
        return Resources(**{**_shared(self), **values, "options": {**self.options, **own.options}})


@dataclass(frozen=True, order=True)
class JobClass:
    """Jobs that ask for the same. processes: of one job. gpu: whether each has one."""

    kind: Kind
    processes: int = 1
    gpu: bool = True

    @property
    def title(self) -> str:
        """For people: `training, 8 processes`."""
        return self.kind + (f", {self.processes} processes" if self.processes > 1 else "")


def load_cluster(path: Path) -> ClusterSettings:
    """Read and check a settings file. Raises `UserError` for unknown keys (with the nearest) and wrong values."""
    values = load_yaml(path) or {}
    if not isinstance(values, dict):
        found = type(values).__name__
        raise UserError("cluster settings are a mapping", where=path, found=found, expected="partition: NAME ...")
    # YAML 1.1 reads 12:00:00 as the number 43200: times and options are taken as they are written.
    written = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    return check_cluster(_as_written(values, written), path)


def check_cluster(values: Mapping[str, Any], where: object) -> ClusterSettings:
    """Settings from plain values. Raises `UserError` as `load_cluster` does."""
    settings = parse_strict(ClusterSettings, values, where)
    for kind in KINDS:
        resources = settings.of(kind)
        minutes(resources.time or "", where)
        _gres(resources.gres, 1, where)
        _memory(resources.memory, 1, where)
        for name in resources.options:
            _check_option(name, where)
    return settings


def with_flags(settings: ClusterSettings, flags: Mapping[str, str | None]) -> ClusterSettings:
    """Settings in which options of the command line win, those for single kinds of jobs included."""
    given = {name: value for name, value in flags.items() if value is not None}
    if not given:
        return settings
    base = settings.model_dump(exclude_unset=True)
    own: dict[str, Any] = {kind: {k: v for k, v in base.get(kind, {}).items() if k not in given} for kind in KINDS[1:]}
    return check_cluster(merge({**base, **own}, given), "--" + ", --".join(given))


def submission(job_class: JobClass, settings: ClusterSettings) -> dict[str, Any]:
    """What submitit is told about jobs of a class: its parameters, by submitit's names.

    Raises `UserError` when the processes do not spread evenly over nodes.
    """
    resources = settings.of(job_class.kind)
    nodes, tasks = _spread(job_class.processes, settings.processes_per_node)
    out: dict[str, Any] = {
        "job_name": f"amlris-{job_class.kind}",
        "time": minutes(resources.time or "", "time"),
        "nodes": nodes,
        "ntasks_per_node": tasks,
        "signal_delay_s": settings.save_seconds,
        "array_parallelism": settings.jobs_at_once,
        "cpus_per_task": resources.cpus,
        "mem": _memory(resources.memory, tasks, "memory"),
        "gres": _gres(resources.gres or ("gpu:1" if job_class.gpu else None), tasks, "gres"),
        "setup": resources.setup,
        "exclusive": True if job_class.kind == "measurement" else None,
        # Since SLURM 22.05 srun no longer takes over the number of CPUs from sbatch.
        "srun_args": [f"--cpus-per-task={resources.cpus}"] if resources.cpus else None,
    }
    out |= {name: getattr(resources, name) for name in ("partition", "qos", "account", "constraint", "exclude")}
    out = {name: value for name, value in out.items() if value is not None}
    return {**out, "additional_parameters": {"requeue": True, **resources.options}}


def sbatch_options(parameters: Mapping[str, Any]) -> list[str]:
    """The sbatch options that submitit makes of parameters, for people: `--partition=main`."""
    apart = {"setup", "srun_args", "signal_delay_s", "array_parallelism", "additional_parameters"}
    plain = {name.replace("_", "-"): value for name, value in parameters.items() if name not in apart}
    plain |= {"signal": f"USR2@{parameters['signal_delay_s']}", **parameters["additional_parameters"]}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in sorted(plain.items())]


def minutes(text: str, where: object) -> int:
    """A time limit as SLURM writes it, in minutes, rounded up. Raises `UserError` when it is none."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        expected = 'minutes, hours:minutes:seconds or days-hours:minutes, as in "90", "12:00:00", "1-00:00"'
        raise UserError("not a time limit", where=where, found=repr(text), expected=expected)
    parts = [int(part) for part in (found["clock"] or found["plain"]).split(":")]
    if found["days"] is not None:
        hours, mins, secs = (*parts, 0, 0)[:3]
        total = int(found["days"]) * 86400 + hours * 3600 + mins * 60 + secs
    elif len(parts) == 3:
        total = parts[0] * 3600 + parts[1] * 60 + parts[2]
    else:
        total = parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)
    if total == 0:
        raise UserError("a time limit of zero", where=where, found=repr(text))
    return math.ceil(total / 60)


def _spread(processes: int, per_node: int) -> tuple[int, int]:
    """Nodes, and processes on each."""
    nodes = math.ceil(processes / per_node)
    if processes % nodes:
        raise UserError(
            "processes of a training are spread evenly over nodes",
            where="processes_per_node",
            found=f"{processes} processes, at most {per_node} on a node",
            expected=f"a number of processes that is a multiple of {nodes} nodes",
        )
    return nodes, processes // nodes


def _gres(text: str | None, tasks: int, where: object) -> str | None:
    """Generic resources of a node, from those of one process."""
    if text is None or text == "none":
        return None
    found = [_GRES.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise UserError("not a gres", where=where, found=repr(text), expected="name:count or name:type:count")
    return ",".join(f"{part['name']}:{int(part['count'] or 1) * tasks}" for part in found if part)


def _memory(text: str | None, tasks: int, where: object) -> str | None:
    """Memory of a node, from that of one process."""
    if text is None:
        return None
    found = _MEMORY.fullmatch(text.strip())
    if found is None:
        raise UserError("not an amount of memory", where=where, found=repr(text), expected="16G, 500M")
    return f"{int(found['size']) * tasks}{found['unit'].upper() or 'M'}"


def _check_option(name: str, where: object) -> None:
    if name in _OWN_SETTINGS:
        hint = f"write it as {_OWN_SETTINGS[name]!r}, outside of options"
        raise UserError(f"sbatch option {name!r} has a setting of its own", where=where, hint=hint)
    if name in _OURS or name.startswith("-") or "_" in name:
        what = "belongs to the suite" if name in _OURS else "is not written like this"
        expected = "long names without dashes in front, as in mail-type: END"
        raise UserError(f"sbatch option {name!r} {what}", where=where, expected=None if name in _OURS else expected)


def _shared(settings: ClusterSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in Resources.model_fields}


def _as_written(values: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Values of YAML with times and options as text (true and false excepted)."""
    out = dict(values)
    for key, value in values.items():
        if key in ("time", "gres", "memory") and isinstance(value, (int, float)) and not isinstance(value, bool):
            out[key] = written[key]
        elif key == "options" and isinstance(value, dict):
            out[key] = {k: v if isinstance(v, bool) else written[key][k] for k, v in value.items()}
        elif isinstance(value, dict):
            out[key] = _as_written(value, written[key])
    return out
