"""What the package says reaches a person, once, at scvi-tools' verbosity."""

import subprocess
import sys

import pytest

SAY = (
    "import logging, scvi, betascvi\n"
    "{before}\n"
    "logging.getLogger('betascvi.model').info('realised weights')\n"
    "logging.getLogger('betascvi.model').warning('collapse')\n"
)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param("", ["realised weights", "collapse"], id="as it comes"),
        pytest.param("scvi.settings.verbosity = 30", ["collapse"], id="scvi-tools is quiet"),
        pytest.param(
            "logging.basicConfig(format='app: %(message)s', level=logging.INFO)",
            ["app: realised weights", "app: collapse"],
            id="the application logs",
        ),
    ],
)
def test_messages_are_shown_once(before: str, said: list[str]) -> None:
    code = SAY.format(before=before)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [
        line for line in done.stderr.splitlines() if line.endswith(("weights", "collapse"))
    ] == said
