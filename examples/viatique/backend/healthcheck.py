"""The container's own health check: asks gunicorn for /health/, as nginx would.

Exits 0 when the application answers 200, and otherwise prints the answer, which
`docker inspect` then shows.
"""

import http.client
import os
import sys


def main():
    headers = {
        "Host": os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0].strip(),
        "X-Forwarded-Proto": "https",
        "User-Agent": "healthcheck",
    }
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=5)
    try:
        connection.request("GET", "/health/", headers=headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except OSError as error:
        sys.exit(f"/health/ did not answer: {error}")
    if response.status != 200:
        sys.exit(f"/health/ answered {response.status}: {body}")


if __name__ == "__main__":
    main()
