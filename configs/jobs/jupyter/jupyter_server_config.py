"""What JupyterLab does differently behind a job's endpoint."""

import os

c = get_config()  # noqa: F821

# The endpoint is the only way here: it has checked a ticket, a key or the cookie of this job's own host,
# and that a request with a cookie comes from a page of this job. Jupyter's own check of the origin and of
# its `_xsrf` cookie stay as they are.
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
# The name that browsers ask for is not this host's.
c.ServerApp.allow_remote_access = True
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
# Where the job can write, for as long as it runs; a volume there outlives it.
c.ServerApp.root_dir = os.environ.get("HOME", "/tmp")
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}
