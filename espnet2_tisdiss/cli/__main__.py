"""The command line as ``python -m espnet2_tisdiss.cli``, where ``tisdiss`` is not installed."""

from espnet2_tisdiss.cli.app import main

if __name__ == "__main__":
    main()
