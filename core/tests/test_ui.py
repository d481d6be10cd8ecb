"""The components: what they say to eyes, to screen readers and to hostile input."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID
from xml.etree import ElementTree

import pytest
from django import forms
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from core import charts, states
from core.components import blocks, places, values
from core.components import states as state_tags

HOSTILE = '"><script>alert(1)</script>'


def render(source: str, **values: object) -> str:
    return Template("{% load ui %}" + source).render(Context(values))


@pytest.mark.parametrize("spelling", ["in_sync", "IN_SYNC", "in-sync", "In sync"])
def test_a_state_is_drawn_alike_however_it_is_spelled(spelling: str) -> None:
    assert states.look(spelling) == states.LOOKS["in-sync"]


@pytest.mark.parametrize("value", [None, "", "brand_new_state"])
def test_what_nobody_classified_is_never_drawn_as_good(value: str | None) -> None:
    assert states.look(value).shape == "unknown"
    assert states.look(value).tone == "grey"


def test_the_five_states_differ_in_shape_and_word_and_not_only_in_colour() -> None:
    five = [states.LOOKS[name] for name in ("in-sync", "differs", "drifted", "failed", "unknown")]
    assert len({look.shape for look in five}) == len({look.word for look in five}) == 5
    assert len({str(states.mark(look.shape)) for look in five}) == 5


@pytest.mark.parametrize("shape", sorted({look.shape for look in states.LOOKS.values()}))
def test_each_shape_is_drawn_and_is_well_formed(shape: str) -> None:
    assert shape in states._SHAPES
    ElementTree.fromstring(str(states.mark(shape)))


def test_a_compact_state_keeps_its_word_for_screen_readers() -> None:
    assert '<span class="sr">Drifted</span>' in state_tags.state("drifted", compact=True)


@pytest.mark.parametrize(
    "made",
    [
        lambda: state_tags.state(HOSTILE, HOSTILE, href=HOSTILE, title=HOSTILE),
        lambda: state_tags.env("production", name=HOSTILE, href=HOSTILE),
        lambda: values.uid(HOSTILE),
        lambda: values.copy(HOSTILE, HOSTILE),
        lambda: places.crumb(HOSTILE, HOSTILE),
        lambda: places.tab(HOSTILE, HOSTILE, count=HOSTILE),
        lambda: blocks.action(Context(), HOSTILE, HOSTILE, disabled=HOSTILE),
        lambda: blocks.opener(Context(), HOSTILE, HOSTILE, disabled=HOSTILE),
        lambda: values.kbd(HOSTILE),
        lambda: values.lit(HOSTILE),
        lambda: charts.sparkline([1, 2], title=HOSTILE),
        lambda: charts.bars([(HOSTILE, 1)], title=HOSTILE, unit=HOSTILE),
        lambda: charts.share([(HOSTILE, 1)], title=HOSTILE),
        lambda: charts.progress(1, 2, label=HOSTILE, ident=HOSTILE),
        lambda: render('{% panel title=x %}{{ x }}{% endpanel %}{% dialog "d" x %}{{ x }}{% enddialog %}', x=HOSTILE),
    ],
)
def test_no_component_lets_markup_through(made: object) -> None:
    assert "<script" not in str(made())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(minutes=12), "12 min ago"),
        (timedelta(days=4), "4 d ago"),
        (-timedelta(hours=2), "in 2 h"),
        (-timedelta(hours=3, minutes=50), "in 3 h 50 min"),
    ],
)
def test_a_time_is_relative_and_exact_at_once(away: timedelta, said: str) -> None:
    moment = datetime.now(UTC) - away
    html = str(values.ago(moment))
    assert f">{said}<" in html
    assert html.count(f"{moment:%d %b %Y, %H:%M:%S}") == 2  # on hover, and read aloud


def test_never_is_said_in_words() -> None:
    assert "never" in values.ago(None)


@pytest.mark.parametrize(
    ("value", "said"), [(0.25, "250 ms"), (4.2, "4.2 s"), (130, "2 min 10 s"), (timedelta(days=1), "1 d"), (None, "–")]
)
def test_durations_carry_units(value: object, said: str) -> None:
    assert values.span(value) == said  # type: ignore[arg-type]


@given(st.floats(min_value=0, max_value=1e15))
def test_sizes_never_show_more_than_four_figures_below_the_largest_unit(value: float) -> None:
    number, unit = values.size(value).split(" ")
    assert unit in {"B", "kB", "MB", "GB", "TB"}
    assert len(number) <= 5


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=60))
def test_a_sparkline_stays_within_its_box_and_names_itself(values: list[float]) -> None:
    svg = ElementTree.fromstring(str(charts.sparkline(values, title="Drift")))
    box = [float(part) for part in svg.attrib["viewBox"].split()]
    points = next(node for node in svg if node.attrib.get("class") == "spark-line").attrib["points"].split()
    assert len(points) == len(values)
    for x, y in (map(float, point.split(",")) for point in points):
        assert 0 <= x <= box[2]
        assert 0 <= y <= box[3]
    assert [node.tag for node in svg][:2] == ["title", "desc"]


def test_a_chart_has_its_table_behind_it() -> None:
    html = str(charts.bars([("09:00", 4), ("10:00", 7)], title="Captures", unit="captures"))
    assert "09:00</th>" in html
    assert "7 captures</td>" in html


def test_an_entry_of_the_rail_without_a_page_renders_nothing() -> None:
    assert render('{% navlink "no-such-page" "Nowhere" "camera" %}') == ""


def test_a_column_sorts_by_link_and_turns_round_and_forgets_the_cursor() -> None:
    request = RequestFactory().get("/", {"sort": "name", "cursor": "abc", "q": "x"})
    html = render('{% th "Name" sort="name" %}{% th "Size" sort="size" num=True %}', request=request)
    assert 'aria-sort="ascending"' in html
    assert re.findall(r'href="\?([^"]+)"', html) == ["sort=-name&amp;q=x", "sort=size&amp;q=x"]


def test_a_field_ties_its_help_and_its_error_to_its_control() -> None:
    class Form(forms.Form):
        name = forms.CharField(help_text="What people call it.")

    html = str(blocks.field(Form({"name": ""})["name"]))
    assert 'aria-describedby="id_name-help id_name-error"' in html
    assert 'aria-invalid="true"' in html
    assert 'id="id_name-error"' in html
    assert 'id="id_name-help"' in html


def test_a_disabled_action_says_why() -> None:
    html = str(blocks.action(Context(), "Restore", "/x", disabled="Read only in a support session"))
    assert 'aria-disabled="true"' in html
    assert "Read only in a support session" in html
    assert "href" not in html


def test_json_is_coloured_without_changing_its_text() -> None:
    text = values.pretty({"a": [1, True, None, 'quote " < &'], "b": "ü"})
    plain = re.sub(r"<[^>]+>", "", str(values.lit(text)))
    from html import unescape

    assert unescape(plain) == text


def test_production_is_marked_apart() -> None:
    assert "env-production" in state_tags.env("production", name="EU")
    assert state_tags.kind_class("prod") == "env-production"
    assert "env-production" not in state_tags.env("staging", name="EU")


def test_addresses_are_those_that_django_works_out() -> None:
    one, other = UUID("9696ea61-a7d4-48ce-84ef-1812a5334ae5"), UUID(int=7)
    asked: list[tuple[str, dict[str, object]]] = [
        ("estate", {}),
        ("drift", {"tenant_slug": "acme"}),
        ("environment", {"tenant_slug": "acme", "pk": one}),
        ("environment", {"tenant_slug": "stand-in-1", "environment_slug": "prod"}),
        ("environment", {"tenant_slug": "acme", "pk": str(one)}),
        ("workflow", {"tenant_slug": "acme", "key": "order-intake"}),
        ("trail-entry", {"tenant_slug": "acme", "pk": 7}),
        ("support-mine-act", {"what": "end now?"}),
    ]
    for name, kwargs in asked * 2:
        assert places.url_if(name, **kwargs) == reverse(name, kwargs=kwargs), name
    assert places.url_if("environment", tenant_slug="acme", pk=other) != places.url_if(
        "environment", tenant_slug="acme", pk=one
    )
    for name, kwargs in (("drift", {}), ("drift", {"tenant_slug": "a b"}), ("x", {})):
        assert places.url_if(name, **kwargs) == ""
