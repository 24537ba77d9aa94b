"""The site's mail templates: which they are, and whether they can be used."""

from __future__ import annotations

from asynchy.alerting.mail_context import Templates
from asynchy.alerting.rendering import check_templates
from asynchy.alerting.samples import samples
from asynchy.config import Settings


def templates_of(settings: Settings) -> Templates:
    """The site's templates."""
    return Templates(
        settings.epnalert_template_folder,
        settings.epnalert_template_text,
        settings.epnalert_template_html,
    )


def check_mail_templates(settings: Settings) -> list[str]:
    """The problems of the site's templates, if it has any."""
    return check_templates(templates_of(settings), samples())
