"""A site's own mail templates: renders them strictly, and finds the parts that they leave out.

Such a template is code of the site's that runs unattended, maybe once a month. So any mistake in it
is a problem that is reported, never the end of a run, and a section of the alert that it does not
show is not lost.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateNotFound,
    meta,
    nodes,
)
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import Markup

from asynchy.alerting.content import Alert
from asynchy.alerting.time_limit import limited
from asynchy.errors import TemplateRefused
from asynchy.model.formatting import day, escaped, moment

SHIPPED = PackageLoader("asynchy.alerting")
_OF_OUR_CLASS = re.compile(r"'asynchy\.[\w.]+ object' has")
"""How Jinja names a value of asynchy."""
_TIME_LIMIT = 5.0
"""For one template; the shipped ones take less than 0.1 s for 1,000 EPNs."""
_AT_RISK = frozenset({"at_risk", "past", "soon"})


def strict_environment(loader: BaseLoader, *, is_html: bool) -> Environment:
    """Where templates are rendered; a variable that is not defined is an error."""
    environment = Environment(
        loader=loader,
        autoescape=is_html,  # noqa: S701 - text is not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(moment=moment, day=day)
    return environment


class RecordingAlert:
    """An alert that knows which of its attributes a template has used."""

    def __init__(self, alert: Alert) -> None:
        self._alert = alert
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._alert, name)
        self.used.add(name)
        return value


class _Literals(CodeGenerator):
    """Takes texts that a site wrote into an HTML template for HTML: in `replace`, a `<br>`.

    Values from outside stay escaped.
    """

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        if isinstance(node.value, str) and frame.eval_ctx.autoescape:
            self.write(f"Markup({node.value!r})")
        else:
            super().visit_Const(node, frame)


class SiteTemplate:
    """One template in the site's folder."""

    def __init__(self, folder: Path | None, name: str, *, is_html: bool) -> None:
        self._name = name
        self._folder = folder
        self._is_html = is_html
        # Editors of Windows put a byte order mark in front.
        site = FileSystemLoader(folder or (), encoding="utf-8-sig")
        loader = ChoiceLoader([site, SHIPPED])
        self._environment = strict_environment(loader, is_html=is_html)
        if is_html:
            self._environment.code_generator_class = _Literals

    def render(self, values: Mapping[str, Any]) -> str:
        """Render it with the values.

        Raises:
            TemplateRefused: it is not there, has a mistake in what these values made it run, or
                does not end; or its text is not valid Unicode, so that no mail can hold it.
        """
        try:
            with limited(_TIME_LIMIT):
                output = self._environment.get_template(self._name).render(values)
            output.encode()
            return output
        except TemplateNotFound as error:
            raise TemplateRefused(
                f"there is no template {escaped(str(error))} in {self._folder}",
                hint="check epnalert-template-folder and the names of the templates",
            ) from None
        except UnicodeEncodeError as error:
            character = f"U+{ord(error.object[error.start]):04X}"
            raise self._refused(ValueError(f"no mail can hold its character {character}")) from None
        except Exception as error:  # noqa: BLE001 - whatever the site's code raises
            raise self._refused(error) from None

    def undeclared(self, defined: Iterable[str]) -> list[str]:
        """The undefined variables of the template, also in branches that no sample reaches.

        Those that it asks for by `is defined` or `default` are not among them.
        """
        assert self._environment.loader is not None
        source, _, _ = self._environment.loader.get_source(self._environment, self._name)
        tree = self._environment.parse(source)
        tested = {
            names.node.name
            for names in [*tree.find_all(nodes.Test), *tree.find_all(nodes.Filter)]
            if names.name in ("defined", "undefined", "default", "d")
            and isinstance(names.node, nodes.Name)
        }
        defined = {*defined, *self._environment.globals}
        return sorted(meta.find_undeclared_variables(tree) - defined - tested)

    def problems(self, samples: Iterable[Mapping[str, Any]]) -> list[str]:
        """Its problems, found by rendering samples."""
        defined: set[str] = set()
        try:
            for values in samples:
                defined |= values.keys()
                self.render(values)
        except TemplateRefused as error:
            return [error.message]
        return [
            f"the template {self._name} uses {variable}, which is not defined"
            for variable in self.undeclared(defined)
        ]

    def _refused(self, error: Exception) -> TemplateRefused:
        line = getattr(error, "lineno", None) or self._line_of(error)
        location = f"{self._name}:{line}" if line else self._name
        reason = _OF_OUR_CLASS.sub("the value has", str(error)) or type(error).__name__
        return TemplateRefused(
            f"the template {location} cannot be used: {escaped(reason, limit=200)}",
            hint="correct it, or take it out of the config: asynchy has templates of its own",
        )

    def _line_of(self, error: Exception) -> int | None:
        """The line of the template that raised it: Jinja puts its templates into tracebacks."""
        trace, line = error.__traceback__, None
        while trace is not None:
            if Path(trace.tb_frame.f_code.co_filename).name == Path(self._name).name:
                line = trace.tb_lineno
            trace = trace.tb_next
        return line


def with_below(page: str, additions: str) -> str:
    """An HTML page with more at its end."""
    position = page.lower().rfind("</body>")
    return page + additions if position < 0 else page[:position] + additions + page[position:]


def not_shown(alert: Alert, used: set[str], output: str, *, is_html: bool) -> Alert:
    """The parts of the alert that are not in the output of a template."""
    text = _plain(output) if is_html else output
    sentences = " ".join(text.split())
    missing = set(re.findall(r"\w+", text))

    def without_attributes(attributes: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            attribute for attribute in attributes if " ".join(attribute.split()) not in sentences
        )

    names_risks, names_overdue = not _AT_RISK.isdisjoint(used), "overdue" in used
    return replace(
        alert,
        unknown=tuple(item for item in alert.unknown if item.epn.text not in missing),
        overdue=tuple(
            item for item in alert.overdue if not (names_overdue and item.epn.text in missing)
        ),
        at_risk=tuple(
            item
            for item in alert.at_risk
            if not (names_risks and item.experiment.epn.text in missing)
        ),
        problems=without_attributes(alert.problems),
        attention=without_attributes(alert.attention),
        notes=without_attributes(alert.notes),
    )


def _plain(page: str) -> str:
    """The visible text of an HTML page."""
    page = re.sub(r"(?is)<!--.*?-->|<(style|script|title|template)\b.*?</\1\s*>", " ", page)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def html_escaped(text: str) -> Markup:
    """A text for an HTML template."""
    return Markup.escape(text)
