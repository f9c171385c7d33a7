"""Real time, on real wires: either half of the system as a process of its own.

    emulate.Emulation   the pack with its chips and sensors (`bms emulate`): bms.sim's closed loop,
                        with a stand-in for the firmware that speaks on a serial line and on CAN
    ecu.Ecu             the firmware (`bms ecu`): what ecu.h asks for, taken from the same wires

The wall between them is ecu.h, and nothing else joins them: bytes of the chips' line, CAN frames,
and pins as two CAN messages (IoInputs, IoOutputs) or real lines.

One compiled thread owns loop, serial descriptors and links (ext/realtime/runner.h): absolute sleep,
no GIL, real-time priority if permitted. Steps are 1 ms. A late one is never skipped: up to ten
ticks of 10 ms run back to back, then an overrun is counted and the clock of the simulation stands
still for what lies further back. Python looks after phases, files and screens fifty times a second
and meets the runner only through words and rings that nobody waits for:

    live.py     changes to the world, as lists that are applied between two steps
    afe.py      opening and reopening the chips' line
    nvm.py      the ECU's memory in a file that survives a kill or a power cut
    pins.py     real lines, behind a gate that must be armed
    status.py   what is told to people and to scripts, and what scripts may ask
"""
