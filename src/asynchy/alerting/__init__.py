"""`epnalert`: mail people what needs them.

In pseudo-code:

    ask the portal for visits, list the experiments at the facility   repatriation.cycle_planner
    derive the state of every experiment
    EPNs without a project; what is overdue, at risk, or needs a person   content (pure)
    for an EPN that is new: read its `.info` at the facility; suggest a project
    render the mail: the site's templates or ours                    rendering, site_template
    add what a site's template does not show
    if there is something new, or a mail waits:
        store the mail in the catalogue, then hand it over           mail, smtp
        recipients that were refused for now get it in the next run
    note what was told, and when
"""
