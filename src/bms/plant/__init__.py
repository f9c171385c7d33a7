"""The plant: the world outside the firmware, as data for the compiled kernels.

build.fill    cell and pack -> every parameter and the initial state; ext/plant/plant.h: equations
chips.fill    pack -> monitor chips, current sensor, insulation monitor
tables        look-up tables over charge, temperature and pressure
loads         what draws or gives power: vehicles on drive cycles, homes, profiles
twin          the same equations again, slow and obvious, to check the compiled ones by
"""
