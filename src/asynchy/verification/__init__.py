"""`asynchy verify`, `audit`, `receipt` and `copies`: is what is at home still what it should be?

`verify` compares copies with the facility, in pseudo-code:

    choose the copies                                              verify_selection
    list each experiment                                           repatriation.capacity
    for each copy, under its lease:
        if files are missing: fetch them                           copying.fetch
        otherwise compare all files byte for byte, if asked to     copying.compare_content
        if files differ: move them aside and fetch them again
        record what is proven

`audit` reads copies at home again, without the facility:

    the copy that has waited longest comes first
    merge the recorded files with those that are there, in order of path
    read a share of the files; compare their SHA-256 with what is known
    record what changed, is missing or is new                      audit_rules (pure)

`receipt` audits one copy; then `receipts.writer` writes it down. `moved_copies`: a person says what
became of a copy that is not at its place.
"""
