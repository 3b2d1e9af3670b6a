import numpy as np
import pytest

from netassay.errors import ConfigError
from netassay.numerics.draws import numpy_draws


def test_draws_are_those_of_numpy_and_a_negative_seed_is_refused():
    assert numpy_draws(3, 7).random() == np.random.default_rng([3, 7]).random()
    assert numpy_draws(2**70, 7).random() != numpy_draws(3, 7).random()
    with pytest.raises(ConfigError, match="seed = -1 is not allowed: whole number from 0"):
        numpy_draws(-1, 7)
