"""Runs the recipes of a run's page, as they stand on it, and compares what they give with its chart.

    recipe.py RUN
"""

import os
import re
import sys
from html.parser import HTMLParser

import duckdb


class Recipes(HTMLParser):
    """The code of every recipe on a page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.name = {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.name = dict(attributes).get("data-recipe") if tag == "code" else None

    def handle_endtag(self, tag):
        self.name = None

    def handle_data(self, data):
        if self.name:
            self.found[self.name] = self.found.get(self.name, "") + data


def counts(name, code):
    if name == "DuckDB":
        rows = duckdb.sql(code).fetchall()
    else:
        names = {}
        exec(code, names)
        table = names["counts"]
        rows = table.items() if name == "pandas" else table.rows()
    # Missing is NaN in pandas.
    return {None if key is None or key != key else int(key): int(n) for key, n in rows}


def main():
    os.chdir(sys.argv[1])
    with open("report/index.html", encoding="utf-8") as file:
        page = file.read()
    chart = page[page.index("<h3>Tracks per person</h3>"):]
    columns = re.findall(r"<title>(Person (\d+)|Not sorted): (\d+)</title>", chart[:chart.index("</svg>")])
    # The chart counts people from 1, the tables from 0.
    shown = {int(number) - 1 if number else None: int(n) for _, number, n in columns}
    assert len(shown) > 5 and None in shown, shown
    recipes = Recipes(page).found
    assert list(recipes) == ["pandas", "Polars", "DuckDB"], list(recipes)
    for name, code in recipes.items():
        assert counts(name, code) == shown, f"{name}: {counts(name, code)}, on the page {shown}"


main()
