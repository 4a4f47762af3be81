"""The policy file: what it allows, and that every mistake in it is told with file, key, value and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.check import policy
from bench.check.policy import FamilyPolicy, Policy
from bench.cli import check
from bench.errors import ConfigError
from bench.metrics import metric


@pytest.fixture
def read(tmp_path):
    """Reads a policy of the given text."""

    def of(text):
        path = tmp_path / "bench.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return policy.read(path)

    return of


def test_without_a_file_the_documented_rule_holds():
    assert Policy().alpha == 0.05
    assert Policy().of("any") == FamilyPolicy(max_slowdown=1.25, min_accuracy=None, max_parameters=None)
    assert not Policy().judges_classes


@pytest.mark.parametrize(
    ("name", "limit", "set_to_a_tenth"),
    [("accuracy", 0.01, 0.1), ("mcc", 0.01, 0.1), ("brier", 0.01, 0.1), ("log_loss", 0.02, 0.04), ("cost", 0.02, 0.04)],
)
def test_a_metric_without_a_range_has_a_limit_relative_to_the_baseline(name, limit, set_to_a_tenth):
    assert FamilyPolicy().limit(metric(name), 0.4) == pytest.approx(limit)
    assert FamilyPolicy(max_drop=0.1).limit(metric(name), 0.4) == pytest.approx(set_to_a_tenth)


@pytest.mark.parametrize("text", ["\ufeff", "[check]\n", "[check.families]\n", "[check.families.cnn]\n"])
def test_an_empty_file_is_the_documented_rule(read, text):
    assert (read(text).alpha, read(text).of("cnn")) == (Policy().alpha, FamilyPolicy())


def test_a_family_s_own_limits_stand_over_the_common_ones(read):
    made = read(
        "[check]\nmax_drop = 0.02\nalpha = 0.01\nmin_accuracy = 0.5\n"
        "[check.families.vgg16]\nmin_accuracy = 0.9\nmax_parameters = 20_000_000\n"
        "[check.families.dummy]\nmin_accuracy = 0\n"
    )
    assert made.alpha == 0.01
    assert made.of("cnn") == FamilyPolicy(0.02, 1.25, 0.5, None)
    assert made.of("vgg16") == FamilyPolicy(0.02, 1.25, 0.9, 20_000_000)
    assert made.of("dummy") == FamilyPolicy(0.02, 1.25, 0.0, None)


def test_the_example_of_the_help_is_the_rule(read):
    text = check.EXAMPLES.partition("no cap:")[2]
    made = read("\n".join(line.removeprefix("  ") for line in text.splitlines()))
    assert (made.alpha, made.usual) == (Policy().alpha, FamilyPolicy(max_drop=0.01))
    assert made.of("vgg16") == FamilyPolicy(0.02, 1.25, 0.85, 20_000_000, 0.1, 0.8)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[chek]\n", "unknown table 'chek'. Did you mean check?"),
        (
            "[check]\nmax_dorp = 0.1\n",
            "[check]: unknown key 'max_dorp'. Did you mean max_drop",
        ),
        ("[check.families.a]\nfloor = 1\n", "[check.families.a]: unknown key 'floor'. Choices: max_drop"),
        (
            "[check]\nmax_drop = 1.0\n",
            "[check] max_drop = 1.0: must be a share above 0 and at most 0.2; one point is 0.01",
        ),
        ("[check]\nmax_drop_by_class = 10\n", "max_drop_by_class = 10: must be a share above 0 and at most 1"),
        ("[check]\nworst_value = inf\n", "worst_value = inf: must be a number, in the unit of the run's metric"),
        ("[check]\nmax_drop = 0\n", "max_drop = 0: must be a share above 0"),
        ("[check]\nmax_drop = nan\n", "max_drop = nan"),
        ('[check]\nmax_drop = "1 %"\n', "max_drop = '1 %'"),
        ("[check]\nmax_drop = true\n", "max_drop = True"),
        ("[check]\nmax_drop = 2024-01-01\n", "max_drop = datetime.date"),
        ("[check]\nalpha = 0\n", "[check] alpha = 0: must be a number above 0 and at most 0.5, e.g. 0.05"),
        ("[check]\nmax_slowdown = 1\n", "max_slowdown = 1: must be a ratio above 1"),
        ("[check]\nmax_slowdown = inf\n", "max_slowdown = inf"),
        ("[check]\nmin_accuracy = 90\n", "min_accuracy = 90: must be a share, 0 to 1; 90 % is 0.9"),
        ("[check]\nmax_parameters = 1e6\n", "max_parameters = 1000000.0: must be a whole number"),
        ("[check]\nmax_parameters = 0\n", "max_parameters = 0: must be a whole number, at least 1"),
        ("[check.families.a]\nalpha = 0.01\n", "[check.families.a]: unknown key 'alpha'"),
        ("check = 3\n", "[check] must be a table, but is 3"),
        ("[check]\nfamilies = []\n", "[check.families] must be a table, but is []"),
        ("[check.families]\na = 1\n", "[check.families.a] must be a table, but is 1"),
        ('[check.families."a\\nb\\u202e"]\nx = 1\n', "[check.families.a\\nb\\u202e]: unknown key 'x'"),
        ("[check\n", "the policy is not TOML: "),
        (b"[check]\n# \xff\n", "not TOML: 'utf-8' codec can't decode"),
        ("x = " + "[" * 100_000, "recursion"),
    ],
)
def test_a_mistake_names_file_key_value_and_rule(read, text, says, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path / 'bench.toml'}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["none.toml", "."])
def test_a_file_that_cannot_be_read(tmp_path, path):
    with pytest.raises(ConfigError, match="the policy cannot be read: "):
        policy.read(tmp_path / path)


def test_limits_for_a_family_that_is_nowhere_are_a_mistake():
    made = Policy(families={"vgg61": FamilyPolicy()}, path=Path("bench.toml"))
    with pytest.raises(ConfigError) as caught:
        made.checked(["cnn", "vgg16"], metric("accuracy"))
    assert "bench.toml: [check.families.vgg61]: unknown family 'vgg61'. Did you mean vgg16?" in str(caught.value)
    assert made.checked(["vgg61"], metric("accuracy")).of("vgg61").max_drop == 0.01
