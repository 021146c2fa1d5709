"""`python -m moegs`."""

from moegs.cli import main

main()
