"""Many runs: deterministic simulation under random faults, judged by the truth.

    story.py      what happens in a run: pack, start, operator, faults; all of it data, from a seed
    play.py       carries a story out under the oracle (bms.invariants); an Outcome comes back
    judge.py      what is looked at after a run: liveness, energy, same bits
    minimise.py   the smallest story that still breaks the same rule (delta debugging)
    run.py        thousands of seeds: on this machine's processes, or on a Dask cluster
    hunt.py       the same against a firmware with a bug in it; planted.py the bugs shipped with it
    mutant.py     builds the firmware with a patch
    explain.py    a run as a timeline

A story is a pure function of its seed and a few numbers, so a seed and a commit are all that is
needed to see a failure again, anywhere.
"""
