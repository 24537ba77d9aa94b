"""`asynchy report` and `asynchy status`: what is known of both sides, as records.

In pseudo-code:

    read the records of experiments and copies from the catalogue, with the stored visits
    look whether each copy that should be complete is at its place      presence
    read ignore.yml, and whose its entries are
    make the policy of the config: rules of destination, demands on a proof
    derive the state of every experiment                                model.experiment_state
    at-risk: what the facility may delete before it is safe at home     at_risk (pure)
    reconcile: both sides, what may be deleted, by which evidence       reconcile (pure)

Nothing is asked of the facility, and nothing is written.
"""
