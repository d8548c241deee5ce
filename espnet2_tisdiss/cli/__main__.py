"""The command line, for interpreters beside which ``tisdiss`` is not installed."""

from espnet2_tisdiss.cli.app import main

if __name__ == "__main__":
    main()
