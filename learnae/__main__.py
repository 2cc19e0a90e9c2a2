"""``learnae``, or ``python -m learnae``, begins here."""

from __future__ import annotations

from learnae.interrupts import abrupt


def main() -> None:
    """Entry point."""
    with abrupt():
        from learnae.cli import main as run  # noqa: PLC0415 - imports take most of a short command's time

    run()


if __name__ == "__main__":
    main()
