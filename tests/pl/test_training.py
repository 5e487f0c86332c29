from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from betascvi.pl import training


@pytest.fixture
def history():
    epochs = pd.Index(range(20), name="epoch")

    def logged(**columns):
        return {
            name: pd.DataFrame({name: values}, index=epochs) for name, values in columns.items()
        }

    falling = 1000.0 + 500.0 * np.exp(-np.arange(20.0))
    return logged(
        elbo_train=falling, elbo_validation=falling + 5, reconstruction_loss_train=falling - 10,
        kl_local_train=np.linspace(0, 10, 20), kl_weight=np.linspace(0, 1, 20),
        sigma0=np.linspace(1, 5, 20), beta_hat=np.linspace(1, 9, 20),
        train_loss=falling,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def _lines(ax):
    return {line.get_label(): line.get_ydata() for line in ax.get_lines()}


def test_each_term_has_a_panel_with_the_values_logged(history):
    bound, reconstruction, kl, weights, learned = training(history)

    np.testing.assert_array_equal(_lines(bound)["held out"], history["elbo_validation"].iloc[:, 0])
    np.testing.assert_array_equal(
        _lines(reconstruction)["training"], history["reconstruction_loss_train"].iloc[:, 0]
    )
    np.testing.assert_array_equal(_lines(kl)["training"], np.linspace(0, 10, 20))
    np.testing.assert_array_equal(_lines(weights)["kl"], np.linspace(0, 1, 20))
    assert set(_lines(learned)) == {"sigma0", "beta_hat"}


def test_the_first_epochs_do_not_squeeze_the_rest(history):
    bound = training(history)[0]

    low, high = bound.get_ylim()
    assert low < 1000.0
    assert high < 1100.0


def test_a_model_and_a_table_read_back_draw_the_same(history):
    class Model:
        def __init__(self):
            self.history = history

    table = pd.concat(list(history.values()), axis=1)
    from_model, from_table = training(Model()), training(table)

    np.testing.assert_array_equal(
        _lines(from_model[0])["training"], _lines(from_table[0])["training"]
    )


def test_panels_without_anything_logged_are_left_out(history):
    del history["sigma0"], history["beta_hat"], history["kl_weight"]

    assert [ax.get_title(loc="left") for ax in training(history)] == [
        "-ELBO, nats per cell", "reconstruction, nats per cell", "KL, nats per cell (raw)",
    ]  # fmt: skip


def test_epochs_without_validation_are_left_out_of_the_dashed_line(history):
    history["elbo_validation"].iloc[::2] = np.nan

    assert len(_lines(training(history)[0])["held out"]) == 10


def test_no_history_is_refused():
    with pytest.raises(ValueError, match="train the model first"):
        training({})


def test_too_few_axes_are_refused(history):
    with pytest.raises(ValueError, match="5 panels and was given 1 axes"):
        training(history, ax=plt.subplots()[1])
