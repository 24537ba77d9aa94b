"""Messages to people and other programs: they wait in the outbox until their receivers have them.

In pseudo-code:

    for each copy that was completed since the last look, and that nobody works on:   arrivals
        describe it (experiment, copy, level, manifest, receipt)                       documents
        store a message for each channel that asks for it; note that it was announced, in one step
    for each condition that begins or ends (needs a person, at risk, unreachable, …):  conditions
        store a message for each channel that was not told of it yet
    for each channel with a message whose time has come:                               deliver
        hand it over: mail server, Apprise, webhook, command
        remove it, or note the reason and when it is tried next
"""
