"""The `leadline` program: finds the command, imports only that one, and turns errors into one line and exit code 2."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from leadline import threads
from leadline.cli.options import EXIT_BAD_INPUT
from leadline.errors import Cancelled, LeadlineError

#: Command → one line for `leadline --help`. The command lives in `leadline/cli/<name>.py` as `command`.
COMMANDS = {
    "predict": "Depth maps from photographs, folders and videos.",
    "normals": "Surface normals from photographs.",
    "complete": "Dense metric depth from an image and LiDAR points or sparse depth.",
    "mesh": "A textured mesh or point cloud from a photograph.",
    "view": "Look at depth, points and uncertainty in the Rerun viewer.",
    "eval": "Score models on data sets, by each paper's protocol.",
    "train": "Train a model by one of the three papers' recipes.",
    "distil": "Teach a small, fast model on your own pictures.",
    "serve": "Run the inference server.",
    "ui": "Depth from photographs in the browser.",
    "keys": "Create and list the keys of a server's clients.",
    "ros": "Run the ROS 2 depth node.",
    "bag": "Add depth topics to a recorded ROS 2 bag, without ROS.",
    "models": "List the models and which weights are here.",
    "pull": "Download official weights.",
    "import": "Turn an official checkpoint on disk into a Leadline model.",
    "bench": "Speed and memory beside the official schedule.",
    "export": "A model as an ONNX file.",
    "completion": "Let the shell complete commands and options.",
    "doctor": "Say what is installed and what would be used.",
}


class LazyCommands(click.Group):
    """A group whose commands are imported when they are asked for, so that `leadline --help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name = (
            f"leadline.cli.{cmd_name}_command" if cmd_name in ("import", "eval") else f"leadline.cli.{cmd_name}"
        )
        command: click.Command = import_module(module_name).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leadline", prog_name="leadline")
def cli() -> None:
    """Depth and surface normals from photographs: the Stable Diffusion family of models in one inference core."""


def main() -> None:
    """Entry point of the console script."""
    threads.prepare()  # no command has loaded torch yet
    try:
        cli(prog_name="leadline", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            usage = f" (see: {error.ctx.command_path} --help)"
            click.echo(f"leadline: {error.format_message().rstrip('.')}{usage}", err=True)
        else:
            click.echo(f"leadline: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Cancelled):
        click.echo("leadline: stopped", err=True)
        sys.exit(130)
    except ModuleNotFoundError as error:
        from leadline.extras import missing

        advice = missing(error.name or "")
        if advice is None:
            raise
        click.echo(f"leadline: {advice}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except LeadlineError as error:
        click.echo(f"leadline: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":  # accelerate launch -m leadline.cli.main train ...
    main()
