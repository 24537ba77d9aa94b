"""The work of a transfer on several hosts, by a Dask cluster.

    the coordinator (the service, or a command; alone opens the catalogue)
        makes the folders, finds the files that are missing, and cuts them into shards
        gives the cluster a shard for each place that is free, and its share of the connections
        hears what is durable, notes it, and puts files that came in ranges in their places
        gives what a host gave back, or lost, to another
    a worker (`asynchy worker`, one on each host)
        fetches a shard as the sftp engine fetches an experiment: `run_shard`

Only `client`, `worker` and `work` import Dask, which is of the extra `cluster`.
"""
