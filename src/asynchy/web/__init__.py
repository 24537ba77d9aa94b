"""`asynchy web`: the dashboard, its API and its metrics.

serve     a web server on a loopback address or a unix socket; each request:
  who     a session cookie, a bearer token, or a header of the reverse proxy; nobody else reads
  read    a page out of the newest state snapshot, and what goes on from the catalogue, read-only
  show    HTML from templates, JSON, or metrics; numbers and words come from the same functions
refresh   a process of its own derives the states of all experiments now and then, while somebody
          looks, and writes a snapshot of them; a slow file system at home delays it, and no page
act       an operator's action runs what the command runs, and is written to the audit trail
"""
