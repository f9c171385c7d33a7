"""Where snapshots come from, one file a kind: a simulation, a recording, a bus.

A feed has `pump()`, called some thirty times a second, which takes what has come and says whether
anything changed; `snapshot()`; `ask(word, *arguments)`; and `close()`. It never blocks and never
raises for what the far end does: that goes into the status.
"""
