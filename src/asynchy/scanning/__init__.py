"""`as-walker`: list every experiment that is visible at the facility into the catalogue.

In pseudo-code:

    lock: one scan at a time works on a catalogue
    go on with a scan that was interrupted, or begin a new one
    find the folders of experiments                               facility.discovery
    for each experiment that is wanted:
        list its folders over several connections                 facility.sftp_lister
        store files and folders in batches
        note what is new, changed or gone since the last scan
    if the connection was lost: wait, connect, go on from the folders that are left
    an experiment that was seen before and is not found now is gone,
        if every folder that may hold it could be listed
    end the scan: what it listed is what the catalogue says now
"""
