"""Chaos: a real network of real processes, load, faults from one seed, and a checker that proves what survived.

`python -m tests.chaos` (`make chaos`) builds a network of validators and gateways with the commands that an operator
uses, each node in a network namespace and on a disk of its own, and then breaks it. After the schedule of
Jepsen (a history of client operations, checked afterwards by a program that knows no implementation), with two
differences: a log that is to be identical everywhere lets the checker be exact where Jepsen must search, and the
archive of every validator is audited with the program that an auditor uses.

    machine     what this machine allows, and entering namespaces that vanish with the process
    link, switch    the network between the nodes: every packet passes through it, and may not
    disks       file systems that fill up, freeze, turn read-only, die, and lose what was not synced
    cluster     the processes
    load        clients, and the history that they write
    faults, schedule    what breaks, when, from one seed
    checker     pure: a history and archives in, violations out
    replay      what the state was at every size, from an archive
    report      one file to show
"""
