"""The command `moegs`, and `python -m moegs`."""

from moegs import program


def main() -> None:
    """Runs the command line."""
    program.run("moegs", _verbs)


def _verbs() -> None:
    from moegs import cli  # brings torch: some seconds in which Ctrl-C is heard

    cli.main()


if __name__ == "__main__":
    main()
