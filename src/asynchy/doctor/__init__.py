"""`asynchy doctor`: try everything that must be right before the first cycle, or the first scan.

In pseudo-code, each line one finding with what to do:

    no original program is in the way: installed in the same place, first on PATH, running
    rsync and ssh are installed, without known holes
    ignore.yml, logs and the catalogue can be written
    the portal answers for every equipment entry, and its clock is ours
    the server lets us in; it offers SFTP, rsync, commands
    the folders of experiments can be listed
    the destination is there, has room, and takes a rename, a mode and a time
    the catalogue is in order, and no part of our own state is lost
    whether a service runs
"""
