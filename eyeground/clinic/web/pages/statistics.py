"""Statistics: how long patients wait, how far doctors and models agree, what cannot be graded, what has drifted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from markupsafe import Markup

from eyeground.clinic.report.language import words_of as report_words
from eyeground.clinic.statistics.agreement import GRADABLE, Agreement
from eyeground.clinic.statistics.drift import LEAST_PATIENTS, REFERENCE_IMAGES, Drift
from eyeground.clinic.statistics.number import Number
from eyeground.clinic.statistics.rates import Rate
from eyeground.clinic.statistics.statistician import Days, Statistician, Statistics
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import guarded_answers, who_asks
from eyeground.clinic.web.paging import Language, language_of, words_of
from eyeground.clinic.web.plots import Interval, Line, Mark, Plot, days_plot, intervals_plot, shares_plot
from eyeground.evaluate.wording import decimal, shown, with_interval

Words = Mapping[str, Any]
_NAN: Final = float("nan")
_WIDE_PX: Final = 720
_NARROW_PX: Final = 340
_MARKS: Final[Mapping[str, Mark]] = {"first_read": "hollow", "signed": "filled"}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        pages.md of the design, section 5.
    """
    statistician = Statistician(desk.service.database, timezone=desk.service.settings.timezone)

    @app.get(f"{API}/statistics", summary="Waits, agreement, quality, drift", responses=guarded_answers())
    def tell(request: Request, days: Days = Days.MONTH) -> Statistics:
        """Tell what happened in the last days, at most a minute old. What is undefined is null, and `why` says why."""
        return statistician.of(site=who_asks(request).site, days=days)

    @app.get("/statistics", include_in_schema=False)
    def page(request: Request, days: str = "") -> Response:
        """The same as a page; of days that are not offered the usual ones."""
        wanted = next((each for each in Days if days == str(int(each))), Days.MONTH)
        found = statistician.of(site=who_asks(request).site, days=wanted)
        language = language_of(request.scope)
        say = words_of("statistics", language)
        return desk.pages.show(
            request, "statistics", told=found, offered=[int(each) for each in Days], plots=_plots(found, language),
            named=_named(language), grades=report_words(language).known("grades"), hours=_hours(say),
            number=_number(say), percent=_percent(say), group=_group(say), model=shown,
            by_source=_by_source(found.agreement), by_model=_by_model(found.drift), gradable=GRADABLE,
            total=_total(found.rates), reference=REFERENCE_IMAGES, least=LEAST_PATIENTS,
        )  # fmt: skip


def _plots(found: Statistics, language: Language) -> dict[str, Any]:
    """All pictures of the page, under names that the template knows."""
    say, named = words_of("statistics", language), _named(language)
    per_day = [(each.median_h.value, each.p90_h.value) for each in found.waits.days]
    median, p90 = (tuple(side) for side in zip(*per_day, strict=True))
    lines = (Line(say["median"], median, "first"), Line(say["p90"], p90, "second"))
    told = say["waits_told"].format(
        cases=found.waits.whole.cases, median=_hours(say)(found.waits.whole.median_h),
        p90=_hours(say)(found.waits.whole.p90_h),
    )  # fmt: skip
    days = [each.day for each in found.waits.days]
    return {
        "waits": [
            days_plot(Plot(f"waits-{width}", say["waits"], told), days, lines, unit=say["hours"], width_px=width)
            for width in (_WIDE_PX, _NARROW_PX)
        ],
        "agreement": _agreement_plot(found.agreement, say, named),
        "rates": _rates_plot(found.rates, say),
        "drift": {
            each: shares_plot(
                Plot(f"drift-{place}", f"{named(each.finding)}", say["drift_told"].format(finding=named(each.finding))),
                each.bins, each.reference_shares, each.shares,
            )
            for place, each in enumerate(found.drift)
        },
    }  # fmt: skip


def _agreement_plot(agreement: Sequence[Agreement], say: Words, named: Callable[[str], str]) -> Markup:
    """Kappa of each finding; of first reads below that of signed opinions."""
    rows: list[Interval] = []
    for part, finding in dict.fromkeys((each.part, each.finding) for each in agreement):
        mine = [each for each in agreement if (each.part, each.finding) == (part, finding)]
        label = say["gradable"][part] if finding == GRADABLE else named(finding)
        for each in mine:
            kappa = each.kappa
            text = decimal(_NAN if kappa.value is None else kappa.value, 2)
            name = label if each is mine[0] else ""
            rows.append(Interval(name, kappa.value, kappa.low, kappa.high, text, _MARKS[each.source]))
    least = min((row.low if row.low is not None else row.value or 0.0 for row in rows), default=0.0)
    low = 0.0 if least >= 0 else -1.0 if least < -0.5 else -0.5
    plot = Plot("agreement", say["agreement"], say["agreement_told"])
    return intervals_plot(plot, rows, low=low, high=1.0, width_px=_NARROW_PX, say="{:.1f}".format)


def _rates_plot(rates: Sequence[Rate], say: Words) -> Markup:
    """Share of images that cannot be graded, by group."""
    sites = len({each.site for each in rates if each.site}) > 1
    rows = []
    for each in rates:
        name = f"{each.site} · {_group(say)(each)}" if sites and each.site else _group(say)(each)
        share = each.share
        text = f"{100 * (_NAN if share.value is None else share.value):.1f}%"
        rows.append(Interval(shown(name, 20), share.value, share.low, share.high, text))
    most = max((each.share.high or 0.0 for each in rates), default=0.0)
    high = next(each for each in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0) if most <= each)
    plot = Plot("rates", say["rates"], say["rates_told"])
    return intervals_plot(plot, rows, low=0.0, high=high, width_px=_NARROW_PX, say=lambda tick: f"{100 * tick:g}%")


def _named(language: Language) -> Callable[[str], str]:
    """What a finding is called in a plot: letters that everybody uses, or its title."""
    titles = report_words(language).known("titles")
    return lambda finding: finding if finding.isupper() else titles.get(finding, finding)


def _hours(say: Words) -> Callable[[Number], str]:
    """Write a time."""

    def written(found: Number) -> str:
        if found.value is None:
            return str(say["why"][found.why])
        minutes = round(60 * found.value)
        return str(say["min"].format(min=minutes) if minutes < 60 else say["h"].format(h=f"{found.value:.1f}"))

    return written


def _number(say: Words) -> Callable[[Number], str]:
    """Write a number with its interval, or why there is none."""

    def written(found: Number) -> str:
        if found.value is None:
            return f"– {say['why'][found.why]}"
        low, high = (_NAN if end is None else end for end in (found.low, found.high))
        text = with_interval(found.value, low, high, 2)
        return f"{text} ({say['why'][found.why]})" if found.why else text

    return written


def _percent(say: Words) -> Callable[[Number], str]:
    """Write a share with its interval, or why there is none."""

    def written(found: Number) -> str:
        if found.value is None:
            return f"– {say['why'][found.why]}"
        if found.low is None or found.high is None:
            return f"{100 * found.value:.1f}%"
        return f"{100 * found.value:.1f}% [{100 * found.low:.1f}–{100 * found.high:.1f}]"

    return written


def _group(say: Words) -> Callable[[Rate], str]:
    """Name a site's device, or all that are told together."""
    return lambda rate: (
        say["others"].format(groups=rate.groups) if rate.groups > 1 else shown(rate.device, 40) or say["no_device"]
    )


def _by_source(agreement: Sequence[Agreement]) -> dict[str, list[Agreement]]:
    """Agreement with first reads and with signed opinions, each for itself."""
    return {source: [each for each in agreement if each.source == source] for source in ("first_read", "signed")}


def _by_model(drift: Sequence[Drift]) -> dict[str, list[Drift]]:
    """Drift of each model."""
    return {model: [each for each in drift if each.model == model] for model in dict.fromkeys(d.model for d in drift)}


def _total(rates: Sequence[Rate]) -> tuple[int, int]:
    """Images that were judged, and those of them that cannot be graded."""
    return sum(each.images for each in rates), sum(each.ungradable for each in rates)
