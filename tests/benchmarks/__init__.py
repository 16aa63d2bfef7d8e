"""The benchmark of the whole: `make bench`, or `python -m tests.benchmarks`.

Real processes and real sockets on loopback, the load generator included. Statements are signed before anything is
measured, from a seed. Nothing here asserts a time: figures are reported beside their targets, and each beside the bare
cost of the signature checks it needs, measured in the same run. docs/performance.md says what the figures mean.
"""
