"""The command that says, before any compute, what the images can certify and what it costs."""

import sys
from pathlib import Path

import click

from compressor.cli_job import project_file, settled_policy


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--policy", required=True, help="A built-in policy or the path of a .yaml file.")
@click.option(
    "--candidate", type=click.Path(path_type=Path), help="Rehearse this file, .onnx or .pt."
)
@click.option(
    "--dense", type=click.Path(path_type=Path), help="The model before compression, as MODEL."
)
@click.option(
    "--from", "run", type=click.Path(path_type=Path), help="Expect what this run's candidate did."
)
@click.option(
    "--discordance",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    help="Share of images that one model alone gets right, 0..1.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Images of the tune split to rehearse on.",
)
@click.option("--waivers", type=click.Path(path_type=Path), help="YAML file of waivers.")
@click.option("--project", type=click.Path(path_type=Path), help="compress.yaml, if not found.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a project field."
)
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    *,
    model: Path | None,
    policy: str,
    candidate: Path | None,
    dense: Path | None,
    run: Path | None,
    discordance: float | None,
    images: int,
    waivers: Path | None,
    project: Path | None,
    settings: tuple[str, ...],
    trusted: tuple[str, ...],
    as_json: bool,
) -> None:
    """What POLICY can certify with the images at hand, what helps, and what judging costs.

    How much a candidate disagrees with the dense model decides how many images it takes. That is
    seen in a rehearsal (--candidate and --dense, on images of the tune split), taken from an
    earlier run (--from), or assumed (--discordance; without any, 5, 10 and 20 %). MODEL is the
    dense model; alone it is only timed. The gate's images are counted and shown to no model, and no
    use of them is recorded.

    Exit codes: 0 every enforced rule can be certified, at least if nothing is lost; 4 some cannot;
    2 unusable input, 5 unusable model.
    """
    _check_choice(candidate=candidate, run=run, discordance=discordance)
    if model is not None and dense is not None:
        raise click.UsageError("MODEL is the dense model, and so is --dense; give one of them")
    if candidate is not None and (dense or model) is None:
        raise click.UsageError("--candidate is compared with a dense model; give --dense")

    from compressor.config import load_gate_project, override_gate  # noqa: PLC0415

    found = settled_policy(policy, waivers)
    file, root = project_file(project)
    settled = load_gate_project(file) if file else None
    if settled is None or settings:
        settled = override_gate(settled, settings, folder=root)

    from compressor import plan_text  # noqa: PLC0415 # loads torch
    from compressor.planning import PlanJob, plan_ahead  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

    job = PlanJob(
        policy=found,
        project=settled,
        root=root,
        dense=dense or model,
        candidate=candidate,
        run=run,
        discordance=discordance,
        images=images,
        trusted=trusted,
    )
    with Terminal() as watch:
        made = plan_ahead(job, watch)
    click.echo(plan_text.as_json(made) if as_json else plan_text.as_text(made))
    sys.exit(made.exit_code)


def _check_choice(*, candidate: Path | None, run: Path | None, discordance: float | None) -> None:
    given = {"--candidate": candidate, "--from": run, "--discordance": discordance}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise click.UsageError(
            f"{' and '.join(names)} say different things of what to expect; give one of them"
        )
