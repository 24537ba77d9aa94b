"""`mxsync` and `asynchy sync`: bring home what is due.

One cycle of `mxsync`, in pseudo-code:

    end if ignore.yml or the catalogue is lost                    lost_state
    ask the portal for the visits of every equipment entry        visit_query
    list the folders of experiments at the facility               cycle_planner
    add both to what the catalogue knows of every experiment      model.observed
    derive the state of every experiment                          model.experiment_state
    list what is due, and leave out what does not fit at home     capacity
    fetch the rest, `max-tasks` experiments at a time             executor -> copying.fetch
    add EPNs to ignore.yml if all their experiments are complete  model.ignore_rules
    note what stays due, for mails and `status`                   due_notes
    remove earlier versions that were kept for long enough        copying.replaced_files
    back up the catalogue, once a day                             daily_backup

`daemon` runs cycles for ever. `sync` has the same steps from "list what is due" on, for the
experiments of the catalogue (`catalogue_selection`). `rebuild` compares all that is at home with
the facility, `adopt` what other programs brought. `fetch_subprocess` fetches one experiment in a
process of its own.
"""
