"""``python -m gan_metrics``: the command line."""

from gan_metrics.cli import main

if __name__ == "__main__":
    main()
