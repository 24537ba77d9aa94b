"""One copy under one lease: fetch an experiment, and prove that its copy equals the facility's.

The steps of `fetch`, in pseudo-code:

    take the lease of the copy; another process that works on it ends this
    record which files are at home already
    repeat:
        run the engine: it fetches what is missing
        list the experiment again
        judge: complete, changed meanwhile, different, failed, stopped
        record the files that arrived, and the attempt
        if it changed meanwhile: fetch what changed, three times at most
        if files differ byte for byte: move them aside and fetch them again, once
        if the connection was lost: wait and try again
        otherwise: end
    if complete: write the receipt, if the config asks for one
    give the lease back

`compare_content` compares files byte for byte, `outcome_rules` judges (pure), `replaced_files`
counts and removes the earlier versions of files that are kept beside a copy.
"""
