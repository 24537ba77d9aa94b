"""`asynchy receipt`: write down what a copy is, so that people and other programs can check it.

In pseudo-code:

    read every file of the copy again; refuse if one has changed    verification.receipt
    take the lease of the copy
    compute the SHA-256 of files that have none                          checksums
    beside the copy, in a folder of its own, write
        a manifest of all files (BagIt)                                  bag
        where the data come from, who, when, how proven (RO-Crate)       crate
    put the folder in its place in one step

`writer` makes a receipt, also at the end of a transfer; `verification.receipt` is the command.
"""
