"""The command line of modfile."""
