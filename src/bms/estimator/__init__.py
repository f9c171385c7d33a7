"""State of charge, core temperature and resistance from current, voltage and temperature.

    estimator = bms.Estimator("sulfide_nmc811_77ah")
    result = estimator.run(time_s, current_a, voltage_v, temperature_degc)
    result.soc_frac, result.soc_std_frac

The filter is the firmware's own C (ext/firmware/estimator.c), compiled once more for arrays; see
docs/estimator.md for its equations. `scoring` compares estimates with truth, after the fact.
"""

from .batch import Estimates, Estimator
from .params import sensors_of

__all__ = ["Estimates", "Estimator", "sensors_of"]
