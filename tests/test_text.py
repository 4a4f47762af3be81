"""Units and outside text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import text
from bench.records import COMPLETE, Metrics, OverSeeds, Trial


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 s"), (0.00123, "1.2 ms"), (0.25, "250 ms"), (12.34, "12.3 s"), (59.97, "1 min"), (125, "2 min 5 s"),
     (3600, "1 h"), (3725, "1 h 2 min"), (None, "–"), (float("inf"), "–")],
)  # fmt: skip
def test_durations_read_as_a_person_says_them(value: float | None, shown: str) -> None:
    assert text.seconds(value).replace("\u00a0", " ").replace("\u202f", " ") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (812, "812"), (1000, "1.0 k"), (93_500, "93.5 k"), (287_400, "287 k"), (2_257_984, "2.3 M"),
     (999_700, "1.0 M"), (138_357_544, "138 M"), (15_500_000_000, "15.5 G"), (None, "–")],
)  # fmt: skip
def test_counts_carry_their_magnitude(value: float | None, shown: str) -> None:
    assert text.count(value).replace("\u00a0", " ").replace("\u202f", " ") == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0.0 MB"), (25.6, "25.6 MB"), (204.8, "205 MB"), (999.7, "1.0 GB"), (12_300, "12.3 GB")]
)
def test_sizes_carry_their_unit(value: float, shown: str) -> None:
    assert text.megabytes(value).replace("\u00a0", " ").replace("\u202f", " ") == shown


def test_of_several_seeds_it_is_said_how_many() -> None:
    one = Trial("a", "optuna:tpe", 0, 1, COMPLETE, test=Metrics(9, 0.9, 0.9, 0.9, 0.1, 0.1))
    three = replace(one, over_seeds=OverSeeds(3, 0.9, 0.8, 1.0, 0.05))
    assert text.mean_of_seeds([three, three]) == text.mean_of_seeds([three]) == "mean of 3\u00a0seeds"
    assert text.mean_of_seeds([one, three]) == "mean of 1 to 3\u00a0seeds"
    assert text.mean_of_seeds([one, one]) == text.mean_of_seeds([]) == ""


def test_large_numbers_are_grouped_and_stay_on_one_line() -> None:
    assert text.plural(1, "picture") == "1\u00a0picture"
    assert text.plural(10_000, "picture") == "10,000\u00a0pictures"
    assert text.plain(text.plural(10_000, "picture")) == "10,000 pictures"


def test_a_name_stays_on_its_line() -> None:
    assert text.one_line("a\nb\tc\r\n\u202ed\udcff") == r"a\nb\tc\n\u202ed\udcff"


def test_a_long_name_is_cut() -> None:
    assert text.one_line("a\nname", 7) == r"a\nname"
    assert text.one_line("a\nname", 6) == "a\\nna…"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p/a@s/s@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@firm:pass@host/db", "postgresql://me@firm:***@host/db"),
        ("mysql+pymysql://host/db?user=me&password=pa:ss&x=1", "mysql+pymysql://host/db?user=me&password=***&x=1"),
        ("postgresql://host/db?sslPassword=a@b", "postgresql://host/db?sslPassword=***"),
        (
            "run --storage 'mysql://me:a@h/db' 'mysql://me:b@h/db'",
            "run --storage 'mysql://me:***@h/db' 'mysql://me:***@h/db'",
        ),
        ("https://host:80/page and me@host", "https://host:80/page and me@host"),
        ("sqlite:////tmp/trials.sqlite3", "sqlite:////tmp/trials.sqlite3"),
    ],
)
def test_no_password_in_a_url_is_shown(url: str, shown: str) -> None:
    assert text.without_password(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p%40ss@host/db?x=1", "postgresql://me:***@host/db?x=1"),
        ("""postgresql://me:a b"c'd<e>?/#:@host:5432/db""", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:line\nend@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@firm:pass@host/db", "postgresql://me@firm:***@host/db"),
        ("mysql+pymysql://h/db?user=me&password=pa:s s@&x=1", "mysql+pymysql://h/db?user=me&password=***&x=1"),
        ("postgresql://me:one@h/db?ssl%50assword=two@three", "postgresql://me:***@h/db?ssl%50assword=***"),
        ("postgresql//me:pass@host/db", "postgresql//me:***@host/db"),
        ("postgresql:/me:pass@host/db", "postgresql:***@host/db"),
        ("me:pass@host", "me:***@host"),
        ("postgresql://me@host:5432/db?sslmode=require", "postgresql://me@host:5432/db?sslmode=require"),
        ("sqlite:////home/me@here/trials.sqlite3", "sqlite:////home/me@here/trials.sqlite3"),
        ("", ""),
    ],
)
def test_no_password_in_the_url_of_a_database_is_shown(url: str, shown: str) -> None:
    assert text.masked_url(url) == shown
    assert text.masked_url(shown) == shown
    assert text.without_password(shown) == shown


def test_shares_read_as_percent() -> None:
    assert text.percent(0.8889) == "88.9\u202f%"
    assert text.interval(0.918, 0.961) == "91.8–96.1\u202f%"
    assert text.percent(None) == "–"


@pytest.mark.parametrize(
    ("difference", "shown"), [(0.0231, "+2.3"), (-0.004, "−0.4"), (0.0, "0.0"), (-0.0004, "0.0"), (0.5, "+50.0")]
)
def test_differences_carry_their_sign(difference: float, shown: str) -> None:
    assert text.points(difference) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0, "p < 0.001"), (0.00099, "p < 0.001"), (0.001, "p = 0.001"), (0.0321, "p = 0.032"), (0.0996, "p = 0.10"),
     (0.25, "p = 0.25"), (0.996, "p = 1"), (1.0, "p = 1")],
)  # fmt: skip
def test_p_values_have_two_digits_that_matter(p: float, shown: str) -> None:
    assert text.p_value(p).replace("\u00a0", " ").replace("\u202f", " ") == shown


@pytest.mark.parametrize(
    ("names", "shown"),
    [([], ""), (["a"], "a"), ([*"ab"], "a and b"), ([*"abcd"], "a, b, c and d"), ([*"abcdefg"], "a, b, c and 4 more")],
)
def test_long_lists_are_cut(names: list[str], shown: str) -> None:
    assert text.listing(names) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("cat\u202egnp", "cat\\u202egnp"),
        ("a\u2028b\ufeff", "a\\u2028b\\ufeff"),
        ("\x1b[31mred\x1b[0m\x07", "red\\x07"),
        ("\ud800", "\\ud800"),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ('File "/home/alice/x.py", /root/y, /roots/z', 'File "~/x.py", ~/y, /roots/z'),
        ("/Users/bob/photos C:\\Users\\bob\\photos", "~/photos ~\\photos"),
        ("mysql://me:secret@host/db", "mysql://me:***@host/db"),
        ("at /home/alice/x, mysql://:secret@host:99/db?x=1", "at ~/x, mysql://:***@host:99/db?x=1"),
        ("שלום héllo 猫", "שלום héllo 猫"),
    ],
)
def test_what_must_not_be_seen_is_taken_out(raw: str, shown: str) -> None:
    assert text.clean(raw) == shown
